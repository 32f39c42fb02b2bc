"""device.py phone|hub …: a device that somebody else built, from the .proto files and their comments alone.

It keeps its binding in memory, believes orders that a pinned key signed for it, acts once on each, reports before it
drops its binding, and comes back without it. Started with epoch 0 it was reset by hand: it knows of no binding, and takes
on the one that it hears it has still. A phone attaches over gRPC; a hub speaks MQTT and signs what it says. A hub,
and a phone that is told so, has no clock and asks for the time. What it does it writes to standard output, one JSON object a line; it ends when standard
input does.
"""

import argparse
import hashlib
import json
import os
import queue
import sys
import tempfile
import threading
import time

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)
from cryptography.exceptions import InvalidSignature

EDDSA = -8
ALGORITHM, KEY_ID, CONTENT_TYPE = 1, 4, 3
COSE_SIGN1 = 18
CLOCK_LEEWAY_SECONDS = 300
QUESTION_SECONDS = 60
TIME_SECONDS = 600
LINES = {"phone": "phones", "hub": "smarthome"}


def tell(**event):
    print(json.dumps(event), flush=True)


def messages(proto):
    """The messages of the wire, compiled from their definition."""
    from grpc_tools import protoc

    out = tempfile.mkdtemp()
    files = ["farewell/device/v1/device.proto", "farewell/device/v1/device_service.proto"]
    bundled = os.path.join(os.path.dirname(protoc.__file__), "_proto")
    code = protoc.main(
        ["protoc", f"-I{proto}", f"-I{bundled}", f"--python_out={out}", f"--grpc_python_out={out}", *files]
    )
    if code != 0:
        sys.exit("the .proto files can't be compiled")
    sys.path.insert(0, out)
    from farewell.device.v1 import device_pb2, device_service_pb2, device_service_pb2_grpc

    return device_pb2, device_service_pb2, device_service_pb2_grpc


def content_type(message):
    return f"application/x-protobuf; messageType={message}"


def raw(key):
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def key_id(public):
    return hashlib.sha256(public).digest()[:8]


def to_be_signed(protected, payload):
    return cbor2.dumps(["Signature1", protected, b"", payload])


def sign(key, message, payload):
    protected = cbor2.dumps(
        {ALGORITHM: EDDSA, KEY_ID: key_id(raw(key.public_key())), CONTENT_TYPE: content_type(message)}
    )
    signature = key.sign(to_be_signed(protected, payload))
    return cbor2.dumps(cbor2.CBORTag(COSE_SIGN1, [protected, {}, payload, signature]))


class Refused(Exception):
    """Bytes that are not believed, with the machine word."""


def verify(keys, message, signed):
    try:
        tag = cbor2.loads(signed)
        protected, unprotected, payload, signature = tag.value
        header = cbor2.loads(protected)
    except Exception as error:
        raise Refused("UNREADABLE") from error
    sound = tag.tag == COSE_SIGN1 and not unprotected and header.get(ALGORITHM) == EDDSA
    if not sound or header.get(CONTENT_TYPE) != content_type(message):
        raise Refused("UNREADABLE")
    key = keys.get(header.get(KEY_ID))
    if key is None:
        raise Refused("UNKNOWN_KEY")
    try:
        key.verify(signature, to_be_signed(protected, payload))
    except InvalidSignature as error:
        raise Refused("BAD_SIGNATURE") from error
    return payload


def pinned(path):
    """Every public key of a PEM file by its id."""
    keys = {}
    end = "-----END PUBLIC KEY-----"
    with open(path, encoding="ascii") as file:
        for part in file.read().split(end)[:-1]:
            key = load_pem_public_key((part.strip() + "\n" + end + "\n").encode())
            assert isinstance(key, Ed25519PublicKey)
            keys[key_id(raw(key))] = key
    return keys


class Device:
    """What the device keeps, and how it decides."""

    def __init__(self, pb, args):
        self.pb, self.line, self.name = pb, LINES[args.kind], f"devices/{args.device}"
        self.epoch, self.keys = args.epoch, pinned(args.order_keys)
        self.key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(args.seed)) if args.seed else None
        self.clockless = args.kind == "hub" or args.clockless
        self.children = dict(child.split("=") for child in args.child)
        self.sequence, self.done, self.answers = 0, [], {}
        self.nonce, self.asked, self.known = b"", 0.0, None
        self.heard, self.ended_epoch = False, 0

    def counted(self, message, full_name):
        self.sequence += 1
        message.sequence = self.sequence
        return sign(self.key, full_name, message.SerializeToString()) if self.key else None

    def sync(self):
        if self.clockless and (not self.nonce or time.monotonic() - self.asked > QUESTION_SECONDS):
            self.nonce, self.asked = os.urandom(16), time.monotonic()
        sync = self.pb.Sync(
            device=self.name, binding_epoch=self.epoch, done_orders=self.done[-64:], nonce=self.nonce
        )
        signed = self.counted(sync, "farewell.device.v1.Sync")
        return self.pb.SyncEnvelope(signed=signed) if signed else self.pb.SyncEnvelope(plain=sync)

    def answer(self, order, epoch, state, reason=""):
        report = self.pb.OrderReport(
            order=order, device=self.name, binding_epoch=epoch, state=state, reason=reason
        )
        signed = self.counted(report, "farewell.device.v1.OrderReport")
        return self.pb.Answer(signed=signed) if signed else self.pb.Answer(plain=report)

    def take_on(self, envelope):
        """Takes the agent's word for the binding that it has still, unless it knows its own, or that this one has ended. True: it
        names another one from now on."""
        if not envelope.HasField("binding"):
            return False
        told = envelope.binding
        takes = self.epoch == 0 or (self.heard and told.epoch >= self.epoch)
        if told.device == self.name and takes and told.epoch > self.ended_epoch:
            before, self.epoch, self.heard = self.epoch, told.epoch, True
            tell(bound=told.epoch, locked=told.activation_lock, device=self.name)
            return before != told.epoch
        return False

    def learn(self, proof):
        # An answer that somebody held back says what time it was.
        if not proof or not self.nonce or time.monotonic() - self.asked > QUESTION_SECONDS:
            return
        try:
            told = self.pb.TimeProof.FromString(verify(self.keys, "farewell.device.v1.TimeProof", proof))
        except Refused:
            return
        if told.device == self.name and told.nonce == self.nonce:
            self.nonce, self.known = b"", (told.time.seconds, time.monotonic())

    def now(self):
        if not self.clockless:
            return time.time()
        if self.known is None or time.monotonic() - self.known[1] > TIME_SECONDS:
            return None
        return self.known[0] + time.monotonic() - self.known[1]

    def obey(self, signed, say):
        """Carries an order out, saying how far it is. True: the device has no binding any more. None: what time is it?"""
        pb = self.pb
        try:
            payload = verify(self.keys, "farewell.device.v1.Order", signed)
        except Refused as refused:
            say(self.answer("", self.epoch, pb.ORDER_STATE_REFUSED, str(refused)))
            return False
        order = pb.Order.FromString(payload)
        if order.line != self.line:
            say(self.answer(order.name, self.epoch, pb.ORDER_STATE_REFUSED, "NOT_THIS_LINE"))
            return False
        if order.device != self.name:
            say(self.answer(order.name, self.epoch, pb.ORDER_STATE_REFUSED, "NOT_THIS_DEVICE"))
            return False
        if order.name in self.answers:
            before, epoch = self.answers[order.name]
            if before == payload:
                say(self.answer(order.name, epoch, pb.ORDER_STATE_EXECUTED))
            else:
                say(self.answer(order.name, self.epoch, pb.ORDER_STATE_REFUSED, "ORDER_CHANGED"))
            return False
        child = order.child.removeprefix("devices/")
        other_child = child in self.children and int(self.children[child]) != order.child_epoch
        if order.binding_epoch != self.epoch or other_child:
            if order.verb in (pb.DEVICE_VERB_UNBIND, pb.DEVICE_VERB_RESET):
                # Word of that binding that comes later is late.
                self.ended_epoch = max(self.ended_epoch, order.binding_epoch)
            say(self.answer(order.name, self.epoch, pb.ORDER_STATE_SUPERSEDED))
            return False
        known = (
            pb.DEVICE_VERB_UNBIND,
            pb.DEVICE_VERB_RESET,
            pb.DEVICE_VERB_REMOVE_CHILD,
            pb.DEVICE_VERB_TRANSFER,
        )
        if order.verb not in known:
            say(self.answer(order.name, self.epoch, pb.ORDER_STATE_REFUSED, "UNKNOWN_VERB"))
            return False
        now = self.now()
        if now is None:
            return None
        if now + CLOCK_LEEWAY_SECONDS < order.not_before_time.seconds:
            say(self.answer(order.name, self.epoch, pb.ORDER_STATE_REFUSED, "NOT_YET"))
            return False
        if now >= order.expire_time.seconds + CLOCK_LEEWAY_SECONDS:
            say(self.answer(order.name, self.epoch, pb.ORDER_STATE_REFUSED, "EXPIRED"))
            return False
        say(self.answer(order.name, self.epoch, pb.ORDER_STATE_RECEIVED))
        say(self.answer(order.name, self.epoch, pb.ORDER_STATE_EXECUTING))
        epoch = self.epoch
        if order.verb == pb.DEVICE_VERB_REMOVE_CHILD:
            self.children.pop(child, None)
        elif order.verb == pb.DEVICE_VERB_TRANSFER:
            if not child:
                self.epoch, self.heard = order.new_epoch, False
            elif child in self.children:
                self.children[child] = order.new_epoch
        else:
            self.ended_epoch = max(self.ended_epoch, self.epoch)
            self.epoch = 0
        self.answers[order.name] = (payload, epoch)
        self.done.append(order.name)
        tell(did=pb.DeviceVerb.Name(order.verb), device=self.name, child=child, order=order.name)
        say(self.answer(order.name, epoch, pb.ORDER_STATE_EXECUTED))
        return self.epoch == 0


def phone(device, args, service, stubs):
    """Attaches over gRPC, again after each loss."""
    import grpc

    while True:
        if args.tls_dir:
            read = lambda name: open(os.path.join(args.tls_dir, name), "rb").read()
            credentials = grpc.ssl_channel_credentials(
                read("ca.pem"), read(f"{args.device}.key"), read(f"{args.device}.pem")
            )
            channel = grpc.secure_channel(args.agent, credentials)
        else:
            channel = grpc.insecure_channel(args.agent)
        up = queue.Queue()
        up.put(service.AttachRequest(attach=service.Attachment(device=device.sync())))
        stub = stubs.DeviceServiceStub(channel)
        try:
            for message in stub.Attach(iter(up.get, None)):
                say = lambda answer: up.put(service.AttachRequest(answer=answer))
                device.learn(message.orders.time_proof)
                if device.take_on(message.orders):
                    up.put(service.AttachRequest(sync=device.sync()))
                results = [device.obey(order, say) for order in message.orders.orders]
                if any(result is None for result in results):
                    tell(asks="what time it is")
                    up.put(service.AttachRequest(sync=device.sync()))
                if any(results):
                    # The last words go up before the stream ends; then it comes back as a device of nobody.
                    time.sleep(0.2)
                    break
        except grpc.RpcError as error:
            tell(lost=error.code().name)
        up.put(None)
        channel.close()
        time.sleep(0.3)


def hub(device, args, pb):
    """Speaks MQTT and syncs on every connection."""
    import paho.mqtt.client as mqtt

    version = mqtt.MQTTv311 if args.mqtt == "3.1.1" else mqtt.MQTTv5
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=args.device, protocol=version)
    client.username_pw_set(args.device, args.secret)
    topic = lambda channel: f"farewell/v1/{device.line}/{args.device}/{channel}"
    sync = lambda: client.publish(topic("sync"), device.sync().SerializeToString(), qos=1)

    def connected(client, _data, _flags, reason, _properties):
        if reason.is_failure:
            tell(lost=str(reason))
        else:
            client.subscribe(topic("cmd"), qos=1)

    def heard(client, _data, message):
        envelope = pb.OrderEnvelope.FromString(message.payload)
        device.learn(envelope.time_proof)
        if device.take_on(envelope):
            sync()
        say = lambda answer: client.publish(
            topic("ack"), pb.ReportEnvelope(answers=[answer]).SerializeToString(), qos=1
        )
        results = [device.obey(order, say) for order in envelope.orders]
        if any(result is None or result for result in results):
            sync()

    client.on_connect = connected
    client.on_subscribe = lambda *_: sync()
    client.on_message = heard
    host, port = args.broker.rsplit(":", 1)
    client.connect(host, int(port), keepalive=20)
    client.loop_forever(retry_first_connection=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["phone", "hub"])
    parser.add_argument("--proto", required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--epoch", type=int, required=True)
    parser.add_argument("--order-keys", required=True)
    parser.add_argument("--seed", default="")
    parser.add_argument("--clockless", action="store_true")
    parser.add_argument("--child", action="append", default=[], metavar="ID=EPOCH")
    parser.add_argument("--agent", default="")
    parser.add_argument("--tls-dir", default="")
    parser.add_argument("--broker", default="")
    parser.add_argument("--secret", default="")
    parser.add_argument("--mqtt", choices=["3.1.1", "5"], default="5")
    args = parser.parse_args()
    pb, service, stubs = messages(args.proto)
    device = Device(pb, args)
    run = (lambda: phone(device, args, service, stubs)) if args.kind == "phone" else (lambda: hub(device, args, pb))
    threading.Thread(target=run, daemon=True).start()
    sys.stdin.read()


main()
