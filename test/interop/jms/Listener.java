import java.util.Collections;
import java.util.concurrent.CountDownLatch;
import javax.jms.*;
import org.apache.qpid.jms.JmsConnectionFactory;

/**
 * {@code java Listener HOST:PORT QUEUE}: a MessageListener that answers the first message to where it asks for, its text in
 * capitals. Prints {@code READY} when it listens, {@code name=value} for what the message has, and {@code DONE}.
 */
public final class Listener {
  public static void main(String[] args) throws Exception {
    CountDownLatch done = new CountDownLatch(1);
    try (JMSContext context = new JmsConnectionFactory("amqp://" + args[0]).createContext(JMSContext.AUTO_ACKNOWLEDGE)) {
      context.createConsumer(context.createQueue(args[1])).setMessageListener((message) -> {
        try {
          print(message);
          answer(context, message);
        } catch (JMSException failed) {
          System.out.println("FAILED=" + failed);
        }
        done.countDown();
      });
      System.out.println("READY");
      done.await();
    }
    System.out.println("DONE");
  }

  private static void print(Message message) throws JMSException {
    System.out.println("class=" + (message instanceof TextMessage ? "TextMessage" : message.getClass().getName()));
    if (message instanceof TextMessage text) System.out.println("text=" + text.getText());
    System.out.println("JMSCorrelationID=" + message.getJMSCorrelationID());
    System.out.println("JMSReplyTo=" + message.getJMSReplyTo());
    System.out.println("JMSType=" + message.getJMSType());
    for (Object name : Collections.list(message.getPropertyNames())) {
      System.out.println(name + "=" + message.getObjectProperty((String) name));
    }
  }

  private static void answer(JMSContext context, Message message) throws JMSException {
    try (JMSContext replies = context.createContext(JMSContext.AUTO_ACKNOWLEDGE)) {
      String text = ((TextMessage) message).getText().toUpperCase();
      replies.createProducer().setJMSCorrelationID(message.getJMSCorrelationID()).setProperty("answered", "yes")
        .send(message.getJMSReplyTo(), text);
    }
  }
}
