import static javax.jms.JMSContext.AUTO_ACKNOWLEDGE;
import static javax.jms.JMSContext.CLIENT_ACKNOWLEDGE;
import static javax.jms.JMSContext.SESSION_TRANSACTED;

import java.util.ArrayList;
import java.util.Collections;
import java.util.Date;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import javax.jms.*;
import org.apache.qpid.jms.JmsConnectionFactory;

/** What an application does with JMS 2.0, each on destinations of its own. A scenario that does not hold throws. */
final class Scenarios {
  /** How long something may take that has to come; only a failure waits for it. */
  private static final long PATIENCE_MS = 8_000;
  /** How long nothing has to come. The client asks with drain, so that an empty queue is told at once. */
  private static final long NOTHING_MS = 100;

  private static final AtomicInteger used = new AtomicInteger();

  private final String uri;

  Scenarios(String host) {
    uri = "amqp://" + host;
  }

  Map<String, Main.Scenario> all() {
    Map<String, Main.Scenario> all = new java.util.LinkedHashMap<>();
    all.put("message-types", this::messageTypes);
    all.put("headers-and-properties", this::headersAndProperties);
    all.put("large-message", this::largeMessage);
    all.put("fixed-producer", this::fixedProducer);
    all.put("async-send", this::asyncSend);
    all.put("message-listener", this::messageListener);
    all.put("no-prefetch", this::noPrefetch);
    all.put("selectors", this::selectors);
    all.put("queue-browser", this::queueBrowser);
    all.put("client-acknowledge", this::clientAcknowledge);
    all.put("recover", this::recover);
    all.put("redelivery-count", this::redeliveryCount);
    all.put("prefetched-are-released", this::prefetchedAreReleased);
    all.put("transacted-send", this::transactedSend);
    all.put("transacted-receive", this::transactedReceive);
    all.put("transacted-both", this::transactedBoth);
    all.put("transaction-ends-with-its-session", this::transactionEndsWithItsSession);
    all.put("topic-subscribers", this::topicSubscribers);
    all.put("no-local", this::noLocal);
    all.put("durable-subscriber", this::durableSubscriber);
    all.put("durable-subscriber-selector", this::durableSubscriberSelector);
    all.put("unsubscribe-unknown", this::unsubscribeUnknown);
    all.put("shared-subscriber", this::sharedSubscriber);
    all.put("shared-durable-subscriber", () -> sharedDurable("shared-" + fresh("client")));
    all.put("shared-durable-subscriber-global", () -> sharedDurable(null));
    all.put("temporary-queue", this::temporaryQueue);
    all.put("temporary-topic", this::temporaryTopic);
    all.put("delivery-delay", this::deliveryDelay);
    all.put("expiry", this::expiry);
    all.put("priority", this::priority);
    all.put("message-groups", this::messageGroups);
    all.put("message-groups-in-transactions", this::messageGroupsInTransactions);
    all.put("client-id-in-use", this::clientIdInUse);
    return all;
  }

  // What messages carry

  private void messageTypes() throws Exception {
    try (JMSContext context = connect(AUTO_ACKNOWLEDGE)) {
      Queue queue = queue(context);
      JMSProducer producer = context.createProducer();
      BytesMessage bytes = context.createBytesMessage();
      bytes.writeBytes(new byte[] {0, -1, 127});
      MapMessage map = context.createMapMessage();
      map.setString("text", "é 𝄞");
      map.setLong("long", Long.MIN_VALUE);
      map.setDouble("double", Double.NaN);
      map.setBytes("bytes", new byte[] {1, 2});
      StreamMessage stream = context.createStreamMessage();
      stream.writeInt(7);
      stream.writeString("seven");
      producer.send(queue, "é 𝄞").send(queue, context.createTextMessage(null)).send(queue, bytes).send(queue, map);
      producer.send(queue, stream).send(queue, new Date(123_456)).send(queue, context.createMessage());

      JMSConsumer consumer = context.createConsumer(queue);
      equal("é 𝄞", ((TextMessage) next(consumer)).getText());
      equal(null, ((TextMessage) next(consumer)).getText());
      BytesMessage gotBytes = (BytesMessage) next(consumer);
      equal(3L, gotBytes.getBodyLength());
      equal((byte) 0, gotBytes.readByte());
      equal((byte) -1, gotBytes.readByte());
      MapMessage gotMap = (MapMessage) next(consumer);
      equal("é 𝄞", gotMap.getString("text"));
      equal(Long.MIN_VALUE, gotMap.getObject("long"));
      equal(Double.NaN, gotMap.getObject("double"));
      equal(2, gotMap.getBytes("bytes").length);
      StreamMessage gotStream = (StreamMessage) next(consumer);
      equal(7, gotStream.readInt());
      equal("seven", gotStream.readString());
      equal(new Date(123_456), ((ObjectMessage) next(consumer)).getObject());
      Message empty = next(consumer);
      check(!(empty instanceof TextMessage || empty instanceof BytesMessage), "a message without a body: " + empty.getClass());
    }
  }

  private void headersAndProperties() throws Exception {
    try (JMSContext context = connect(AUTO_ACKNOWLEDGE)) {
      Queue queue = queue(context);
      Topic replyTo = context.createTopic(fresh("reply"));
      TextMessage sent = context.createTextMessage("x");
      sent.setJMSType("type");
      sent.setJMSCorrelationID("correlation");
      sent.setJMSReplyTo(replyTo);
      sent.setBooleanProperty("boolean", true);
      sent.setByteProperty("byte", (byte) -1);
      sent.setShortProperty("short", Short.MIN_VALUE);
      sent.setIntProperty("int", Integer.MIN_VALUE);
      sent.setLongProperty("long", Long.MAX_VALUE);
      sent.setFloatProperty("float", 0.1f);
      sent.setDoubleProperty("double", 0.1);
      sent.setStringProperty("string", "é");
      context.createProducer().setDeliveryMode(DeliveryMode.NON_PERSISTENT).send(queue, sent);
      JMSConsumer consumer = context.createConsumer(queue);
      Message got = next(consumer);
      equal("type", got.getJMSType());
      equal("correlation", got.getJMSCorrelationID());
      equal(replyTo, got.getJMSReplyTo());
      check(got.getJMSReplyTo() instanceof Topic, "the reply goes to a topic");
      equal(queue, got.getJMSDestination());
      equal(sent.getJMSMessageID(), got.getJMSMessageID());
      equal(sent.getJMSTimestamp(), got.getJMSTimestamp());
      equal(DeliveryMode.NON_PERSISTENT, got.getJMSDeliveryMode());
      equal(1, got.getIntProperty("JMSXDeliveryCount"));
      equal(false, got.getJMSRedelivered());
      for (String name : List.of("boolean", "byte", "short", "int", "long", "float", "double", "string")) {
        equal(sent.getObjectProperty(name), got.getObjectProperty(name));
      }
      context.createProducer().send(queue, "persistent");
      equal(DeliveryMode.PERSISTENT, next(consumer).getJMSDeliveryMode());
    }
  }

  private void largeMessage() throws Exception {
    try (JMSContext context = connect(AUTO_ACKNOWLEDGE)) {
      Queue queue = queue(context);
      String text = "0123456789abcdef".repeat(200_000);
      context.createProducer().send(queue, text);
      equal(text, text(next(context.createConsumer(queue))));
    }
  }

  // Sending and receiving

  /** The others use the producer of JMS 2.0, which names the destination in each message. */
  private void fixedProducer() throws Exception {
    try (Connection connection = new JmsConnectionFactory(uri).createConnection()) {
      connection.start();
      Session session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
      Queue queue = session.createQueue(fresh("queue"));
      MessageProducer producer = session.createProducer(queue);
      // The default name of a link is made of the address: one for each direction must not disturb the other.
      MessageConsumer consumer = session.createConsumer(queue);
      for (int i = 0; i < 10; i++) producer.send(session.createTextMessage("" + i));
      for (int i = 0; i < 10; i++) equal("" + i, ((TextMessage) consumer.receive(PATIENCE_MS)).getText());
      producer.close();
      consumer.close();
    }
  }

  private void asyncSend() throws Exception {
    try (JMSContext context = connect(AUTO_ACKNOWLEDGE)) {
      int count = 2_000;
      Queue queue = queue(context);
      CountDownLatch confirmed = new CountDownLatch(count);
      List<Exception> refused = Collections.synchronizedList(new ArrayList<>());
      JMSProducer producer = context.createProducer().setAsync(new CompletionListener() {
        public void onCompletion(Message message) {
          confirmed.countDown();
        }

        public void onException(Message message, Exception cause) {
          refused.add(cause);
          confirmed.countDown();
        }
      });
      for (int i = 0; i < count; i++) producer.send(queue, "" + i);
      check(confirmed.await(PATIENCE_MS, TimeUnit.MILLISECONDS), confirmed.getCount() + " are not confirmed");
      equal(List.of(), refused);
      JMSConsumer consumer = context.createConsumer(queue);
      for (int i = 0; i < count; i++) equal("" + i, text(next(consumer)));
    }
  }

  private void messageListener() throws Exception {
    try (JMSContext context = connect(AUTO_ACKNOWLEDGE); JMSContext sender = connect(AUTO_ACKNOWLEDGE)) {
      Queue queue = queue(context);
      LinkedBlockingQueue<String> inbox = new LinkedBlockingQueue<>();
      context.createConsumer(queue).setMessageListener((message) -> inbox.add(text(message)));
      for (int i = 0; i < 100; i++) sender.createProducer().send(queue, "" + i);
      for (int i = 0; i < 100; i++) equal("" + i, inbox.poll(PATIENCE_MS, TimeUnit.MILLISECONDS));
    }
  }

  /** Each message is asked for by itself, with drain where the answer has to come at once. */
  private void noPrefetch() throws Exception {
    try (JMSContext context = connect(AUTO_ACKNOWLEDGE, "jms.prefetchPolicy.all=0")) {
      Queue queue = queue(context);
      JMSConsumer consumer = context.createConsumer(queue);
      equal(null, consumer.receiveNoWait());
      equal(null, consumer.receive(NOTHING_MS));
      for (int i = 0; i < 3; i++) context.createProducer().send(queue, "" + i);
      JMSConsumer other = context.createConsumer(queue);
      equal("0", text(next(consumer)));
      equal("1", text(next(other)));
      equal("2", text(next(consumer)));
      equal(null, other.receiveNoWait());
    }
  }

  private void selectors() throws Exception {
    String[] each = {
      "number BETWEEN 10 AND 19", "colour IN ('red', 'green')", "colour LIKE 'bl_e%' ESCAPE '!'",
      "colour IS NULL AND JMSType = 'plain'", "number * 2 + 1 > 100 AND NOT ready", "JMSPriority > 7 OR JMSCorrelationID = 'c-9'",
    };
    try (JMSContext context = connect(AUTO_ACKNOWLEDGE)) {
      Queue queue = queue(context);
      List<JMSConsumer> consumers = new ArrayList<>();
      for (String selector : each) consumers.add(context.createConsumer(queue, selector));
      JMSProducer producer = context.createProducer();
      producer.setProperty("number", 15).send(queue, "0");
      producer.clearProperties().setProperty("colour", "green").send(queue, "1");
      producer.clearProperties().setProperty("colour", "blue-ish").send(queue, "2");
      producer.clearProperties().setJMSType("plain").send(queue, "3");
      producer.setJMSType(null).setProperty("number", 50).setProperty("ready", false).send(queue, "4");
      producer.clearProperties().setPriority(8).send(queue, "5");
      producer.setPriority(4).setProperty("colour", "none of them").send(queue, "rest");
      for (int i = 0; i < each.length; i++) equal("" + i, text(next(consumers.get(i))));
      for (JMSConsumer consumer : consumers) equal(null, consumer.receive(NOTHING_MS));
      equal("rest", text(next(context.createConsumer(queue))));
      try {
        context.createConsumer(queue, "number BETWEEN");
        check(false, "a selector that is none is refused");
      } catch (InvalidSelectorRuntimeException expected) {
        // Already by the client.
      }
    }
  }

  private void queueBrowser() throws Exception {
    try (JMSContext context = connect(AUTO_ACKNOWLEDGE)) {
      Queue queue = queue(context);
      equal(List.of(), browse(context.createBrowser(queue)));
      for (int i = 0; i < 50; i++) context.createProducer().setProperty("even", i % 2 == 0).send(queue, "" + i);
      equal(50, browse(context.createBrowser(queue)).size());
      List<String> even = browse(context.createBrowser(queue, "even = TRUE"));
      equal(25, even.size());
      equal("48", even.get(24));
      JMSConsumer consumer = context.createConsumer(queue);
      for (int i = 0; i < 50; i++) equal("" + i, text(next(consumer)));
      consumer.close();
      equal(List.of(), browse(context.createBrowser(queue)));
    }
  }

  // Acknowledging

  private void clientAcknowledge() throws Exception {
    try (JMSContext sender = connect(AUTO_ACKNOWLEDGE)) {
      Queue queue = queue(sender);
      for (int i = 0; i < 6; i++) sender.createProducer().send(queue, "" + i);
      try (JMSContext context = connect(CLIENT_ACKNOWLEDGE)) {
        JMSConsumer consumer = context.createConsumer(queue);
        for (int i = 0; i < 3; i++) equal("" + i, text(next(consumer)));
        // All that this session was given so far.
        context.acknowledge();
        equal("3", text(next(consumer)));
      }
      try (JMSContext context = connect(CLIENT_ACKNOWLEDGE)) {
        JMSConsumer consumer = context.createConsumer(queue);
        for (int i = 3; i < 6; i++) equal("" + i, text(next(consumer)));
        context.acknowledge();
        equal(null, consumer.receive(NOTHING_MS));
      }
    }
  }

  private void recover() throws Exception {
    try (JMSContext context = connect(CLIENT_ACKNOWLEDGE)) {
      Queue queue = queue(context);
      for (int i = 0; i < 3; i++) context.createProducer().send(queue, "" + i);
      JMSConsumer consumer = context.createConsumer(queue);
      equal("0", text(next(consumer)));
      equal("1", text(next(consumer)));
      context.recover();
      for (int i = 0; i < 3; i++) {
        Message again = next(consumer);
        equal("" + i, text(again));
        equal(i < 2, again.getJMSRedelivered());
        equal(i < 2 ? 2 : 1, again.getIntProperty("JMSXDeliveryCount"));
      }
      context.acknowledge();
      equal(null, consumer.receive(NOTHING_MS));
    }
  }

  private void redeliveryCount() throws Exception {
    try (JMSContext sender = connect(AUTO_ACKNOWLEDGE)) {
      Queue queue = queue(sender);
      sender.createProducer().send(queue, "x");
      for (int attempt = 1; attempt <= 3; attempt++) {
        // Ends without acknowledging: the client says modified, delivery failed.
        try (JMSContext context = connect(CLIENT_ACKNOWLEDGE)) {
          Message message = next(context.createConsumer(queue));
          equal(attempt, message.getIntProperty("JMSXDeliveryCount"));
          equal(attempt > 1, message.getJMSRedelivered());
          if (attempt == 3) context.acknowledge();
        }
      }
    }
  }

  private void prefetchedAreReleased() throws Exception {
    try (JMSContext context = connect(AUTO_ACKNOWLEDGE)) {
      Queue queue = queue(context);
      for (int i = 0; i < 20; i++) context.createProducer().send(queue, "" + i);
      JMSConsumer greedy = context.createConsumer(queue);
      equal("0", text(next(greedy)));
      greedy.close();
      JMSConsumer other = context.createConsumer(queue);
      for (int i = 1; i < 20; i++) {
        Message message = next(other);
        equal("" + i, text(message));
        check(!message.getJMSRedelivered(), i + " was never shown to anybody");
      }
    }
  }

  // Transactions

  private void transactedSend() throws Exception {
    try (JMSContext context = connect(SESSION_TRANSACTED); JMSContext witness = connect(AUTO_ACKNOWLEDGE)) {
      Queue queue = queue(context);
      Queue other = queue(context);
      JMSConsumer consumer = witness.createConsumer(queue);
      context.createProducer().send(queue, "rolled back").send(other, "rolled back");
      context.rollback();
      context.createProducer().send(queue, "1").send(other, "2").send(queue, "3");
      equal(null, consumer.receive(NOTHING_MS));
      context.commit();
      equal("1", text(next(consumer)));
      equal("3", text(next(consumer)));
      equal("2", text(next(witness.createConsumer(other))));
      context.commit();
      equal(null, consumer.receive(NOTHING_MS));
    }
  }

  private void transactedReceive() throws Exception {
    try (JMSContext context = connect(SESSION_TRANSACTED); JMSContext sender = connect(AUTO_ACKNOWLEDGE)) {
      Queue queue = queue(context);
      for (int i = 0; i < 5; i++) sender.createProducer().send(queue, "" + i);
      JMSConsumer consumer = context.createConsumer(queue);
      equal("0", text(next(consumer)));
      equal("1", text(next(consumer)));
      context.rollback();
      for (int i = 0; i < 3; i++) {
        Message again = next(consumer);
        equal("" + i, text(again));
        equal(i < 2, again.getJMSRedelivered());
        equal(i < 2 ? 2 : 1, again.getIntProperty("JMSXDeliveryCount"));
      }
      context.commit();
      consumer.close();
      JMSConsumer next = context.createConsumer(queue);
      equal("3", text(next(next)));
      equal("4", text(next(next)));
      context.commit();
      equal(null, next.receive(NOTHING_MS));
    }
  }

  private void transactedBoth() throws Exception {
    try (JMSContext context = connect(SESSION_TRANSACTED); JMSContext plain = connect(AUTO_ACKNOWLEDGE)) {
      Queue from = queue(context);
      Queue to = queue(context);
      JMSConsumer consumer = context.createConsumer(from);
      JMSConsumer result = plain.createConsumer(to);
      for (int i = 0; i < 20; i++) plain.createProducer().send(from, "" + i);
      for (int i = 0; i < 20; i++) {
        // Every third one fails at first.
        for (int attempt = i % 3 == 0 ? 0 : 1; attempt < 2; attempt++) {
          String text = text(next(consumer));
          equal("" + i, text);
          context.createProducer().send(to, text + " done");
          if (attempt == 0) context.rollback();
          else context.commit();
        }
      }
      for (int i = 0; i < 20; i++) equal(i + " done", text(next(result)));
      equal(null, result.receive(NOTHING_MS));
    }
  }

  private void transactionEndsWithItsSession() throws Exception {
    try (JMSContext plain = connect(AUTO_ACKNOWLEDGE)) {
      Queue queue = queue(plain);
      plain.createProducer().send(queue, "stays");
      try (JMSContext context = connect(SESSION_TRANSACTED)) {
        equal("stays", text(next(context.createConsumer(queue))));
        context.createProducer().send(queue, "never sent");
      }
      JMSConsumer consumer = plain.createConsumer(queue);
      equal("stays", text(next(consumer)));
      equal(null, consumer.receive(NOTHING_MS));
    }
  }

  // Topics

  private void topicSubscribers() throws Exception {
    try (JMSContext context = connect(AUTO_ACKNOWLEDGE)) {
      Topic topic = context.createTopic(fresh("topic"));
      context.createProducer().send(topic, "nobody listens");
      JMSConsumer one = context.createConsumer(topic);
      JMSConsumer two = context.createConsumer(topic, "wanted = TRUE");
      context.createProducer().send(topic, "to one").setProperty("wanted", true).send(topic, "to both");
      equal("to one", text(next(one)));
      equal("to both", text(next(one)));
      equal("to both", text(next(two)));
      two.close();
      JMSConsumer three = context.createConsumer(topic);
      equal(null, three.receive(NOTHING_MS));
    }
  }

  private void noLocal() throws Exception {
    try (JMSContext context = connect(AUTO_ACKNOWLEDGE); JMSContext other = connect(AUTO_ACKNOWLEDGE)) {
      Topic topic = context.createTopic(fresh("topic"));
      JMSConsumer consumer = context.createConsumer(topic, null, true);
      context.createProducer().send(topic, "my own");
      other.createProducer().send(topic, "of another");
      equal("of another", text(next(consumer)));
      equal(null, consumer.receive(NOTHING_MS));
    }
  }

  private void durableSubscriber() throws Exception {
    String client = fresh("client");
    try (JMSContext sender = connect(AUTO_ACKNOWLEDGE)) {
      Topic topic = sender.createTopic(fresh("topic"));
      try (JMSContext context = connectAs(client)) {
        context.createDurableConsumer(topic, "subscription");
      }
      for (int i = 0; i < 10; i++) sender.createProducer().send(topic, "" + i);
      try (JMSContext context = connectAs(client)) {
        JMSConsumer consumer = context.createDurableConsumer(topic, "subscription");
        for (int i = 0; i < 5; i++) equal("" + i, text(next(consumer)));
        consumer.close();
        // On the same session, as a link that comes back.
        consumer = context.createDurableConsumer(topic, "subscription");
        for (int i = 5; i < 10; i++) equal("" + i, text(next(consumer)));
        sender.createProducer().send(topic, "live");
        equal("live", text(next(consumer)));
        consumer.close();
        sender.createProducer().send(topic, "for nobody");
        context.unsubscribe("subscription");
        equal(null, context.createDurableConsumer(topic, "subscription").receive(NOTHING_MS));
      }
      try (JMSContext context = connectAs(client)) {
        context.unsubscribe("subscription");
      }
    }
  }

  /** JMS 2.0 8.3.3: another selector is the same as unsubscribing and subscribing anew. */
  private void durableSubscriberSelector() throws Exception {
    try (JMSContext context = connectAs(fresh("client"))) {
      Topic topic = context.createTopic(fresh("topic"));
      context.createDurableConsumer(topic, "subscription", "n < 2", false).close();
      for (int i = 0; i < 4; i++) context.createProducer().setProperty("n", i).send(topic, "" + i);
      JMSConsumer consumer = context.createDurableConsumer(topic, "subscription", "n < 2", false);
      equal("0", text(next(consumer)));
      consumer.close();
      consumer = context.createDurableConsumer(topic, "subscription", "n >= 2", false);
      for (int i = 0; i < 4; i++) context.createProducer().setProperty("n", i).send(topic, "again " + i);
      equal("again 2", text(next(consumer)));
      equal("again 3", text(next(consumer)));
      equal(null, consumer.receive(NOTHING_MS));
      consumer.close();
      context.unsubscribe("subscription");
    }
  }

  private void unsubscribeUnknown() throws Exception {
    try (JMSContext context = connectAs(fresh("client"))) {
      context.unsubscribe("unknown");
      check(false, "it was never subscribed");
    } catch (InvalidDestinationRuntimeException expected) {
      // So that the application knows.
    }
  }

  private void sharedSubscriber() throws Exception {
    String name = fresh("shared");
    try (JMSContext one = connect(AUTO_ACKNOWLEDGE); JMSContext two = connect(AUTO_ACKNOWLEDGE)) {
      Topic topic = one.createTopic(fresh("topic"));
      List<JMSConsumer> members = new ArrayList<>();
      members.add(one.createSharedConsumer(topic, name));
      members.add(one.createSharedConsumer(topic, name));
      members.add(two.createSharedConsumer(topic, name));
      JMSConsumer outsider = two.createSharedConsumer(topic, fresh("other"));
      for (int i = 0; i < 90; i++) one.createProducer().send(topic, "" + i);
      equal(90, collect(members, 90).size());
      for (int i = 0; i < 90; i++) equal("" + i, text(next(outsider)));
      for (JMSConsumer member : members) member.close();
      one.createProducer().send(topic, "for nobody");
      equal(null, two.createSharedConsumer(topic, name).receive(NOTHING_MS));
    }
  }

  private void sharedDurable(String client) throws Exception {
    String name = fresh("shared");
    try (JMSContext sender = connect(AUTO_ACKNOWLEDGE)) {
      Topic topic = sender.createTopic(fresh("topic"));
      try (JMSContext context = client == null ? connect(AUTO_ACKNOWLEDGE) : connectAs(client)) {
        JMSConsumer one = context.createSharedDurableConsumer(topic, name);
        JMSConsumer two = context.createSharedDurableConsumer(topic, name);
        for (int i = 0; i < 60; i++) sender.createProducer().send(topic, "" + i);
        equal(60, collect(List.of(one, two), 60).size());
      }
      for (int i = 0; i < 10; i++) sender.createProducer().send(topic, "" + i);
      try (JMSContext context = client == null ? connect(AUTO_ACKNOWLEDGE) : connectAs(client)) {
        JMSConsumer consumer = context.createSharedDurableConsumer(topic, name);
        for (int i = 0; i < 10; i++) equal("" + i, text(next(consumer)));
        consumer.close();
        sender.createProducer().send(topic, "for nobody");
        context.unsubscribe(name);
        equal(null, context.createSharedDurableConsumer(topic, name).receive(NOTHING_MS));
      }
    }
  }

  // Temporary destinations

  private void temporaryQueue() throws Exception {
    try (JMSContext client = connect(AUTO_ACKNOWLEDGE); JMSContext server = connect(AUTO_ACKNOWLEDGE)) {
      Queue queue = queue(client);
      server.createConsumer(queue).setMessageListener((request) -> {
        JMSContext replies = server.createContext(AUTO_ACKNOWLEDGE);
        replies.createProducer().setJMSCorrelationID(id(request)).send(replyTo(request), text(request).toUpperCase());
        replies.close();
      });
      TemporaryQueue replyQueue = client.createTemporaryQueue();
      JMSConsumer replies = client.createConsumer(replyQueue);
      for (int i = 0; i < 20; i++) {
        TextMessage request = client.createTextMessage("question " + i);
        client.createProducer().setJMSReplyTo(replyQueue).send(queue, request);
        Message reply = next(replies);
        equal("QUESTION " + i, text(reply));
        equal(request.getJMSMessageID(), reply.getJMSCorrelationID());
      }
      replies.close();
      replyQueue.delete();
      try {
        server.createProducer().send(server.createQueue(replyQueue.getQueueName()), "x");
        // A broker that makes queues as they are needed may take it for a new one.
      } catch (InvalidDestinationRuntimeException mayBe) {
        // Gone with its creator.
      }
    }
  }

  private void temporaryTopic() throws Exception {
    try (JMSContext context = connect(AUTO_ACKNOWLEDGE); JMSContext other = connect(AUTO_ACKNOWLEDGE)) {
      TemporaryTopic topic = context.createTemporaryTopic();
      JMSConsumer one = context.createConsumer(topic);
      JMSConsumer two = context.createConsumer(topic);
      Queue queue = queue(context);
      context.createProducer().setJMSReplyTo(topic).send(queue, "question");
      Destination to = next(other.createConsumer(queue)).getJMSReplyTo();
      check(to instanceof TemporaryTopic, "the reply goes to " + to.getClass());
      other.createProducer().send(to, "answer");
      equal("answer", text(next(one)));
      equal("answer", text(next(two)));
    }
  }

  // Time, rank and order

  private void deliveryDelay() throws Exception {
    try (JMSContext context = connect(AUTO_ACKNOWLEDGE)) {
      Queue queue = queue(context);
      JMSConsumer consumer = context.createConsumer(queue);
      TextMessage later = context.createTextMessage("later");
      long sentAt = System.currentTimeMillis();
      context.createProducer().setDeliveryDelay(1_000).send(queue, later);
      context.createProducer().send(queue, "now");
      equal("now", text(next(consumer)));
      Message got = next(consumer);
      equal("later", text(got));
      long afterMs = System.currentTimeMillis() - sentAt;
      check(afterMs >= 995, "it came after " + afterMs + " ms");
      equal(later.getJMSDeliveryTime(), got.getJMSDeliveryTime());
    }
  }

  private void expiry() throws Exception {
    // The client would hide expired ones itself.
    try (JMSContext context = connect(AUTO_ACKNOWLEDGE, "jms.localMessageExpiry=false")) {
      Queue queue = queue(context);
      context.createProducer().setTimeToLive(300).send(queue, "gone");
      context.createProducer().setTimeToLive(3_600_000).send(queue, "stays");
      Queue clock = queue(context);
      context.createProducer().setDeliveryDelay(400).send(clock, "it is time");
      next(context.createConsumer(clock));
      Message stays = next(context.createConsumer(queue));
      equal("stays", text(stays));
      long leftMs = stays.getJMSExpiration() - System.currentTimeMillis();
      check(leftMs > 3_500_000 && leftMs <= 3_600_000, "it has " + leftMs + " ms left");
    }
  }

  /** That it arrives as it was sent; how a queue ranks is the broker's. */
  private void priority() throws Exception {
    try (JMSContext context = connect(AUTO_ACKNOWLEDGE)) {
      Queue queue = queue(context);
      for (int priority = 0; priority < 10; priority++) context.createProducer().setPriority(priority).send(queue, "" + priority);
      JMSConsumer consumer = context.createConsumer(queue);
      List<String> seen = new ArrayList<>();
      for (int i = 0; i < 10; i++) {
        Message message = next(consumer);
        equal(text(message), "" + message.getJMSPriority());
        seen.add(text(message));
      }
      Collections.sort(seen);
      equal(List.of("0", "1", "2", "3", "4", "5", "6", "7", "8", "9"), seen);
    }
  }

  private void messageGroups() throws Exception {
    try (JMSContext context = connect(AUTO_ACKNOWLEDGE); JMSContext other = connect(AUTO_ACKNOWLEDGE)) {
      int groups = 4;
      Queue queue = queue(context);
      LinkedBlockingQueue<String> inbox = new LinkedBlockingQueue<>();
      ConcurrentHashMap<String, JMSContext> working = new ConcurrentHashMap<>();
      for (JMSContext each : List.of(context, other)) {
        each.createConsumer(queue).setMessageListener((message) -> {
          String group = group(message);
          JMSContext who = working.putIfAbsent(group, each);
          inbox.add(group + " " + text(message) + " " + (who == null ? "alone" : "disturbed"));
          working.remove(group, each);
        });
      }
      JMSContext sender = context.createContext(AUTO_ACKNOWLEDGE);
      for (int i = 0; i < 100; i++) {
        sender.createProducer().setProperty("JMSXGroupID", "g" + i % groups).setProperty("JMSXGroupSeq", i / groups + 1).send(queue, "" + i);
      }
      int[] last = {-1, -1, -1, -1};
      for (int i = 0; i < 100; i++) {
        String[] got = inbox.poll(PATIENCE_MS, TimeUnit.MILLISECONDS).split(" ");
        int number = Integer.parseInt(got[1]);
        equal("g" + number % groups, got[0]);
        equal("alone", got[2]);
        check(number > last[number % groups], number + " came behind " + last[number % groups]);
        last[number % groups] = number;
      }
      sender.close();
    }
  }

  private void messageGroupsInTransactions() throws Exception {
    // One message at a time: the others wait in the broker.
    String few = "jms.prefetchPolicy.all=1";
    try (JMSContext context = connect(SESSION_TRANSACTED, few); JMSContext other = connect(AUTO_ACKNOWLEDGE)) {
      Queue queue = queue(context);
      JMSProducer producer = other.createProducer();
      for (int i = 0; i < 6; i++) producer.setProperty("JMSXGroupID", "g").send(queue, "" + i);
      JMSConsumer consumer = context.createConsumer(queue);
      for (int i = 0; i < 3; i++) equal("" + i, text(next(consumer)));
      context.rollback();
      for (int i = 0; i < 3; i++) equal("" + i, text(next(consumer)));
      JMSConsumer second = other.createConsumer(queue);
      equal(null, second.receiveNoWait());
      context.commit();
      context.close();
      for (int i = 3; i < 6; i++) equal("" + i, text(next(second)));
    }
  }

  private void clientIdInUse() throws Exception {
    String client = fresh("client");
    try (JMSContext first = connectAs(client)) {
      try (JMSContext second = connectAs(client)) {
        check(false, "the client id is in use");
      } catch (InvalidClientIDRuntimeException expected) {
        // JMS 2.0 6.1.2.
      }
    }
    connectAs(client).close();
  }

  // Small things

  private JMSContext connect(int mode, String... options) {
    return new JmsConnectionFactory(withOptions(options)).createContext(mode);
  }

  private JMSContext connectAs(String client) {
    JmsConnectionFactory factory = new JmsConnectionFactory(withOptions());
    factory.setClientID(client);
    JMSContext context = factory.createContext(AUTO_ACKNOWLEDGE);
    context.start();
    return context;
  }

  private String withOptions(String... options) {
    String common = "amqp.drainTimeout=5000&jms.requestTimeout=8000&jms.sendTimeout=8000&jms.closeTimeout=5000"
        + "&jms.deserializationPolicy.allowList=java.util";
    return uri + "?" + String.join("&", common, String.join("&", options)).replaceAll("&$", "");
  }

  private static String fresh(String what) {
    return "jms-" + what + "-" + ProcessHandle.current().pid() + "-" + used.incrementAndGet();
  }

  private static Queue queue(JMSContext context) {
    return context.createQueue(fresh("queue"));
  }

  private static Message next(JMSConsumer consumer) {
    Message message = consumer.receive(PATIENCE_MS);
    check(message != null, "nothing came");
    return message;
  }

  /** In turns, until there are so many. */
  private static List<String> collect(List<JMSConsumer> consumers, int count) {
    List<String> texts = new ArrayList<>();
    long deadline = System.currentTimeMillis() + PATIENCE_MS;
    while (texts.size() < count) {
      check(System.currentTimeMillis() < deadline, texts.size() + " of " + count + " came");
      for (JMSConsumer consumer : consumers) {
        for (Message message; (message = consumer.receiveNoWait()) != null; ) texts.add(text(message));
      }
    }
    equal(count, (int) texts.stream().distinct().count());
    for (JMSConsumer consumer : consumers) equal(null, consumer.receive(NOTHING_MS));
    return texts;
  }

  private static List<String> browse(QueueBrowser browser) throws JMSException {
    List<String> texts = new ArrayList<>();
    for (Object message : Collections.list(browser.getEnumeration())) texts.add(text((Message) message));
    browser.close();
    return texts;
  }

  private static String text(Message message) {
    return quietly(() -> ((TextMessage) message).getText());
  }

  private static String id(Message message) {
    return quietly(message::getJMSMessageID);
  }

  private static Destination replyTo(Message message) {
    return quietly(message::getJMSReplyTo);
  }

  private static String group(Message message) {
    return quietly(() -> message.getStringProperty("JMSXGroupID"));
  }

  private interface Read<T> {
    T read() throws JMSException;
  }

  private static <T> T quietly(Read<T> read) {
    try {
      return read.read();
    } catch (JMSException cause) {
      throw new RuntimeException(cause);
    }
  }

  private static void equal(Object expected, Object actual) {
    check(java.util.Objects.equals(expected, actual), "expected " + expected + ", not " + actual);
  }

  private static void check(boolean holds, String otherwise) {
    if (!holds) throw new AssertionError(otherwise);
  }
}
