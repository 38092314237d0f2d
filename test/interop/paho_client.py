"""One paho client, driven by lines of JSON: commands come on stdin, what happens goes to stdout."""

import json
import os
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

FIELDS = {"contentType": "ContentType", "responseTopic": "ResponseTopic", "userProperties": "UserProperty"}


def emit(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


def reason(code):
    return code if isinstance(code, int) else code.value


def properties_of(fields):
    properties = Properties(PacketTypes.PUBLISH)
    for name, theirs in FIELDS.items():
        if name in fields:
            value = fields[name]
            setattr(properties, theirs, [tuple(pair) for pair in value] if name == "userProperties" else value)
    if "correlationData" in fields:
        properties.CorrelationData = fields["correlationData"].encode()
    return properties


def on_connect(client, userdata, flags, code, properties=None):
    emit("connected", reasonCode=reason(code), sessionPresent=bool(flags["session present"]))


def on_message(client, userdata, message):
    fields = {"topic": message.topic, "payload": message.payload.decode(), "qos": message.qos}
    fields["retain"] = bool(message.retain)
    properties = getattr(message, "properties", None)
    for name, theirs in FIELDS.items():
        if hasattr(properties, theirs):
            fields[name] = getattr(properties, theirs)
    if hasattr(properties, "CorrelationData"):
        fields["correlationData"] = properties.CorrelationData.decode()
    emit("message", **fields)


def on_subscribe(client, userdata, mid, granted, properties=None):
    emit("subscribed", reasonCodes=[reason(code) for code in granted])


def connect(command):
    version = command["version"]
    is_v5 = version == 5
    clean = {} if is_v5 else {"clean_session": not command["keepSession"]}
    client = mqtt.Client(client_id=command["clientId"], protocol=version, **clean)
    client.on_connect = on_connect
    client.on_message = on_message
    client.on_subscribe = on_subscribe
    client.on_publish = lambda client, userdata, mid: emit("published")
    will = command.get("will")
    if will is not None:
        client.will_set(will["topic"], will["payload"], will["qos"], will["retain"])
    if is_v5:
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 3600 if command["keepSession"] else 0
        client.connect("127.0.0.1", command["port"], clean_start=not command["keepSession"], properties=properties)
    else:
        client.connect("127.0.0.1", command["port"])
    client.loop_start()
    return client


def run():
    client = None
    is_v5 = False
    for line in sys.stdin:
        command = json.loads(line)
        do = command["do"]
        if do == "connect":
            is_v5 = command["version"] == 5
            client = connect(command)
        elif do == "subscribe":
            if is_v5:
                client.subscribe(command["filter"], options=SubscribeOptions(qos=command["qos"]))
            else:
                client.subscribe(command["filter"], command["qos"])
        elif do == "publish":
            properties = properties_of(command) if is_v5 else None
            client.publish(command["topic"], command["payload"], command["qos"], command["retain"], properties)
        elif do == "disconnect":
            client.disconnect()
            client.loop_stop()
            return
        elif do == "vanish":
            os._exit(0)


run()
