"""Qpid Proton for Python against an AMQP 1.0 broker, as its own examples do it: `proton_client.py HOST:PORT [SCENARIO...]`.

One line a scenario: `PASS name` or `FAIL name: why`. Each has addresses of its own.
"""

import os
import sys
from proton import Message, Terminus, symbol
from proton.handlers import MessagingHandler, TransactionHandler
from proton.reactor import Container, Copy, LinkOption, Selector

LIMIT_S = 15
used = 0


def fresh(what):
    global used
    used += 1
    return f"proton-{what}-{os.getpid()}-{used}"


class Handler(MessagingHandler):
    """Fails when it is not done in time, or when a link or the connection is refused."""

    def __init__(self, **options):
        super().__init__(**options)
        self.failure = None
        self.done = False

    def on_start(self, event):
        self.container = event.container
        self.alarm = event.container.schedule(LIMIT_S, self)
        self.connection = event.container.connect(HOST, reconnect=False, heartbeat=30)
        self.begin(event)

    def on_timer_task(self, event):
        self.fail("not finished in time: " + self.state())

    def state(self):
        return ""

    def fail(self, why):
        self.failure = self.failure or why
        self.finish()

    def finish(self):
        self.done = True
        self.alarm.cancel()
        self.connection.close()

    def on_link_error(self, event):
        self.fail(f"link: {event.link.remote_condition}")

    def on_connection_error(self, event):
        self.fail(f"connection: {event.connection.remote_condition}")

    def on_transport_error(self, event):
        self.fail(f"transport: {event.transport.condition}")


class SendAndReceive(Handler):
    """simple_send and simple_recv in one application: both links have the default name, container id and address."""

    def __init__(self, total=500):
        super().__init__(prefetch=50)
        self.total, self.sent, self.confirmed, self.bodies = total, 0, 0, []

    def begin(self, event):
        address = fresh("queue")
        self.receiver = self.container.create_receiver(self.connection, address, name="one name")
        self.sender = self.container.create_sender(self.connection, address, name="one name")

    def on_sendable(self, event):
        while event.sender.credit and self.sent < self.total:
            event.sender.send(Message(id=self.sent, body={"sequence": self.sent}))
            self.sent += 1

    def on_accepted(self, event):
        self.confirmed += 1
        self.check()

    def on_message(self, event):
        self.bodies.append(event.message.body["sequence"])
        self.check()

    def check(self):
        if self.confirmed == self.total and len(self.bodies) == self.total:
            if self.bodies != list(range(self.total)):
                self.fail("out of order")
            else:
                self.finish()

    def state(self):
        return f"{self.sent} sent, {self.confirmed} confirmed, {len(self.bodies)} received"


class RequestResponse(Handler):
    """server.py and client.py: a dynamic source for the replies, a sender without a target for the answers."""

    requests = ["Twas brillig, and the slithy toves", "Did gire and gymble in the wabe.", "é"]

    def begin(self, event):
        self.replies = []
        address = fresh("queue")
        self.server_receiver = self.container.create_receiver(self.connection, address)
        self.relay = self.container.create_sender(self.connection, None)
        self.sender = self.container.create_sender(self.connection, address)
        self.reply_receiver = self.container.create_receiver(self.connection, None, dynamic=True)

    def ask(self):
        request = self.requests[len(self.replies)]
        reply_to = self.reply_receiver.remote_source.address
        self.sender.send(Message(reply_to=reply_to, correlation_id=len(self.replies), body=request))

    def on_link_opened(self, event):
        if event.receiver == self.reply_receiver:
            if not event.receiver.remote_source.address:
                return self.fail("the dynamic node has no address")
            self.ask()

    def on_message(self, event):
        message = event.message
        if event.receiver == self.server_receiver:
            reply = Message(address=message.reply_to, correlation_id=message.correlation_id, body=message.body.upper())
            return self.relay.send(reply)
        expected = self.requests[len(self.replies)].upper()
        if message.body != expected or message.correlation_id != len(self.replies):
            return self.fail(f"{message.body} instead of {expected}")
        self.replies.append(message.body)
        if len(self.replies) == len(self.requests):
            self.finish()
        else:
            self.ask()


class TransactionalSend(Handler, TransactionHandler):
    """tx_send: batches, every second one is given up. A plain receiver sees the others, and those as a whole."""

    def __init__(self, total=60, batch=5):
        super().__init__(prefetch=100)
        self.total, self.batch = total, batch
        self.sent, self.current, self.transactions, self.bodies, self.transaction = 0, 0, 0, [], None

    def begin(self, event):
        address = fresh("queue")
        self.sender = self.container.create_sender(self.connection, address)
        self.receiver = self.container.create_receiver(self.connection, address, name="witness")
        self.container.declare_transaction(self.connection, handler=self)

    def on_transaction_declared(self, event):
        self.transaction = event.transaction
        self.pump()

    def on_sendable(self, event):
        self.pump()

    def pump(self):
        while self.transaction and self.sender.credit and self.sent < self.total:
            self.transaction.send(self.sender, Message(id=self.sent, body=self.sent))
            self.sent += 1
            self.current += 1
            if self.current == self.batch:
                transaction, self.transaction, self.current = self.transaction, None, 0
                self.transactions += 1
                if self.transactions % 2:
                    transaction.commit()
                else:
                    transaction.abort()

    def on_message(self, event):
        self.bodies.append(event.message.body)
        self.check()

    def on_transaction_committed(self, event):
        self.next()

    def on_transaction_aborted(self, event):
        self.next()

    def next(self):
        if self.sent < self.total:
            self.container.declare_transaction(self.connection, handler=self)
        self.check()

    def on_transaction_declare_failed(self, event):
        self.fail("declare failed")

    def on_transaction_commit_failed(self, event):
        self.fail("commit failed")

    def check(self):
        expected = [i for i in range(self.total) if i // self.batch % 2 == 0]
        if self.bodies != expected[: len(self.bodies)]:
            self.fail(f"received {self.bodies}")
        elif self.sent == self.total and len(self.bodies) == len(expected):
            self.finish()

    def state(self):
        return f"{self.sent} sent, {self.transactions} transactions, received {self.bodies}"


class TransactionalReceive(Handler, TransactionHandler):
    """tx_recv: takes in batches; the first one is given up at first and comes again, counted."""

    def __init__(self, total=20, batch=5):
        super().__init__(prefetch=0, auto_accept=False)
        self.total, self.batch = total, batch
        self.transaction, self.current, self.committed, self.counts, self.gave_up = None, [], [], {}, False

    def begin(self, event):
        self.address = fresh("queue")
        self.sender = self.container.create_sender(self.connection, self.address)
        self.confirmed = 0

    def on_link_opened(self, event):
        if event.sender == self.sender:
            for i in range(self.total):
                self.sender.send(Message(id=i, body=i))

    def on_accepted(self, event):
        if event.sender != self.sender:
            return
        self.confirmed += 1
        if self.confirmed == self.total:
            self.receiver = self.container.create_receiver(self.connection, self.address, name="taker")
            self.container.declare_transaction(self.connection, handler=self)

    def on_transaction_declared(self, event):
        self.transaction = event.transaction
        self.receiver.flow(self.batch)

    def on_message(self, event):
        self.counts.setdefault(event.message.body, []).append(event.message.delivery_count)
        self.current.append(event.message.body)
        self.transaction.accept(event.delivery)
        if len(self.current) == self.batch:
            if not self.gave_up:
                self.gave_up = True
                self.transaction.abort()
            else:
                self.transaction.commit()

    def on_transaction_aborted(self, event):
        self.current = []
        self.container.declare_transaction(self.connection, handler=self)

    def on_transaction_committed(self, event):
        self.committed += self.current
        self.current = []
        if len(self.committed) < self.total:
            return self.container.declare_transaction(self.connection, handler=self)
        if sorted(self.committed) != list(range(self.total)):
            return self.fail(f"received {self.committed}")
        again = [counts for counts in self.counts.values() if len(counts) > 1]
        if len(again) != self.batch:
            return self.fail(f"{len(again)} came again: {self.counts}")
        self.finish()

    def on_transaction_commit_failed(self, event):
        self.fail("commit failed")

    def state(self):
        return f"{self.confirmed} confirmed, {self.committed} committed, {self.current} in the transaction"


class Filled(Handler):
    """With a queue of ten messages, each with the property colour; the last is blue."""

    total = 10

    def begin(self, event):
        self.address = fresh("queue")
        self.confirmed = 0
        self.sender = self.container.create_sender(self.connection, self.address)

    def on_link_opened(self, event):
        if event.link.is_sender:
            for i in range(self.total):
                colour = "green" if i % 2 == 0 else "blue"
                self.sender.send(Message(body=i, properties={"colour": colour}))

    def on_accepted(self, event):
        self.confirmed += 1
        if self.confirmed == self.total:
            self.filled(event)


class Browse(Filled):
    """queue_browser: all of them with drain, after which they are still there."""

    def __init__(self):
        super().__init__(prefetch=0)
        self.seen, self.rounds = [], 0

    def filled(self, event):
        self.look(Copy())

    def look(self, options):
        self.receiver = self.container.create_receiver(self.connection, self.address, name=f"browser {self.rounds}", options=options)
        self.receiver.drain(100)

    def on_message(self, event):
        self.seen.append(event.message.body)

    def on_drained(self, event):
        if self.seen != list(range(self.total)):
            return self.fail(f"round {self.rounds}: {self.seen}")
        self.seen, self.rounds = [], self.rounds + 1
        event.receiver.close()
        if self.rounds == 3:
            self.finish()
        else:
            self.look(Copy() if self.rounds == 1 else None)

    # The container's own way to learn of it.
    def on_link_flow(self, event):
        if event.receiver and event.receiver.drain_mode and event.receiver.credit == event.receiver.queued == 0:
            self.on_drained(event)

    def state(self):
        return f"round {self.rounds}: {self.seen}"


class Selected(Filled):
    """selected_recv."""

    def __init__(self):
        super().__init__(prefetch=10)
        self.seen = []

    def filled(self, event):
        self.container.create_receiver(self.connection, self.address, name="selected", options=Selector("colour = 'green'"))

    def on_message(self, event):
        self.seen.append(event.message.body)
        if len(self.seen) == 5:
            if self.seen != [0, 2, 4, 6, 8]:
                return self.fail(f"received {self.seen}")
            self.finish()


class Settling(Filled):
    """accept, release and reject of the messaging handler."""

    def __init__(self):
        super().__init__(prefetch=10, auto_accept=False)
        self.seen, self.released, self.rejected = [], set(), 0

    def filled(self, event):
        self.receiver = self.container.create_receiver(self.connection, self.address, name="settling")

    def on_message(self, event):
        body = event.message.body
        if body == 3 and body not in self.released:
            self.released.add(body)
            return self.release(event.delivery, delivered=False)
        if body == 5:
            self.rejected += 1
            return self.reject(event.delivery)
        self.seen.append(body)
        self.accept(event.delivery)
        if len(self.seen) == self.total - 1:
            if sorted(self.seen) != [0, 1, 2, 3, 4, 6, 7, 8, 9] or self.rejected != 1:
                return self.fail(f"{self.seen}, {self.rejected} rejected")
            self.finish()

    def state(self):
        return f"{self.seen}, released {self.released}, {self.rejected} rejected"


class DurableSubscription(Handler):
    """durable_subscriber: detaches, and finds what came meanwhile."""

    def __init__(self):
        super().__init__(prefetch=10)
        self.rounds, self.seen = 0, []

    def on_start(self, event):
        # It is known by the container's id and the link's name.
        event.container.container_id = fresh("container")
        super().on_start(event)

    def begin(self, event):
        self.address = fresh("topic")
        self.subscribe()

    def subscribe(self):
        self.receiver = self.container.create_receiver(self.connection, self.address, name="subscription", options=DurableTopic())

    def on_link_opened(self, event):
        if event.receiver and self.rounds == 0:
            self.rounds = 1
            event.receiver.detach()
        elif event.sender:
            for i in range(5):
                event.sender.send(Message(body=i))

    def on_link_remote_detach(self, event):
        if self.rounds == 1:
            self.rounds = 2
            self.confirmed = 0
            self.container.create_sender(self.connection, self.address, options=TopicTarget())

    def on_accepted(self, event):
        self.confirmed += 1
        if self.confirmed == 5:
            self.subscribe()

    def on_message(self, event):
        self.seen.append(event.message.body)
        if len(self.seen) == 5:
            if self.seen != [0, 1, 2, 3, 4]:
                return self.fail(f"received {self.seen}")
            self.finish()

    def state(self):
        return f"round {self.rounds}: {self.seen}"


class DurableTopic(LinkOption):
    def apply(self, receiver):
        receiver.source.durability = Terminus.DELIVERIES
        receiver.source.expiry_policy = Terminus.EXPIRE_NEVER
        receiver.source.capabilities.put_object(symbol("topic"))

    def test(self, link):
        return link.is_receiver


class TopicTarget(LinkOption):
    def apply(self, sender):
        sender.target.capabilities.put_object(symbol("topic"))

    def test(self, link):
        return link.is_sender


SCENARIOS = {
    "send-and-receive": SendAndReceive,
    "request-response": RequestResponse,
    "settling": Settling,
    "transactional-send": TransactionalSend,
    "transactional-receive": TransactionalReceive,
    "browse": Browse,
    "selected": Selected,
    "durable-subscription": DurableSubscription,
}


def run(name):
    handler = SCENARIOS[name]()
    try:
        Container(handler).run()
    except Exception as cause:  # Whatever it is, the others go on.
        return f"{type(cause).__name__}: {cause}"
    if handler.failure is None and not handler.done:
        return "it ended too early"
    return handler.failure


if sys.argv[1] == "list":
    print("\n".join(SCENARIOS))
    sys.exit(0)
HOST = sys.argv[1]
failed = 0
for chosen in sys.argv[2:] or SCENARIOS:
    reason = run(chosen)
    print(f"PASS {chosen}" if reason is None else f"FAIL {chosen}: {reason}", flush=True)
    failed += reason is not None
sys.exit(1 if failed else 0)
