import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * Qpid JMS against an AMQP 1.0 broker: {@code java Main HOST:PORT [SCENARIO...]}, all of them when none is named; {@code java
 * Main list} names them. One line a scenario: {@code PASS name} or {@code FAIL name: why}.
 */
public final class Main {
  interface Scenario {
    void run() throws Exception;
  }

  private static final long LIMIT_S = 30;

  public static void main(String[] args) {
    Map<String, Scenario> all = new Scenarios(args[0]).all();
    List<String> names = args.length > 1 ? List.of(args).subList(1, args.length) : List.copyOf(all.keySet());
    if (args[0].equals("list")) {
      all.keySet().forEach(System.out::println);
      return;
    }
    boolean holds = true;
    for (String name : all.keySet()) {
      if (!names.contains(name)) continue;
      String why = run(all.get(name));
      System.out.println(why == null ? "PASS " + name : "FAIL " + name + ": " + why);
      holds &= why == null;
    }
    // By halt: a connection that hangs must not keep the process.
    Runtime.getRuntime().halt(holds ? 0 : 1);
  }

  private static String run(Scenario scenario) {
    ExecutorService executor = Executors.newSingleThreadExecutor();
    Future<?> done = executor.submit(() -> {
      scenario.run();
      return null;
    });
    try {
      done.get(LIMIT_S, TimeUnit.SECONDS);
      return null;
    } catch (TimeoutException late) {
      done.cancel(true);
      return "not finished after " + LIMIT_S + " s";
    } catch (ExecutionException failed) {
      return describe(failed.getCause());
    } catch (InterruptedException interrupted) {
      throw new IllegalStateException(interrupted);
    } finally {
      executor.shutdownNow();
    }
  }

  /** On one line, with the line of the scenario it is about. */
  private static String describe(Throwable cause) {
    StringBuilder text = new StringBuilder(String.valueOf(cause).replaceAll("\\s+", " "));
    for (StackTraceElement at : cause.getStackTrace()) {
      if (at.getClassName().equals("Scenarios") && !List.of("check", "equal", "next").contains(at.getMethodName())) {
        return text.append(" (line ").append(at.getLineNumber()).append(')').toString();
      }
    }
    return text.toString();
  }
}
