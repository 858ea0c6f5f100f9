"""The original protocol: consumers on Django Channels, sockets counted per group.

With REDIS_PORT, it is one of several nodes. A node does not know the sockets of the others, so it sends each
message to the group: no push.
"""

import json
import os
from collections import Counter

import django
from django.conf import settings

REDIS_PORT = os.environ.get("REDIS_PORT")

# Large enough to drop nothing: a lost message ends the run.
CAPACITY = {"capacity": 100000}
LAYER = {"BACKEND": "channels.layers.InMemoryChannelLayer", "CONFIG": CAPACITY}
if REDIS_PORT:
    LAYER = {
        # Costs the processor a third of what the other layer of channels_redis does.
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": CAPACITY | {"hosts": [f"redis://127.0.0.1:{REDIS_PORT}"]},
    }

settings.configure(
    SECRET_KEY="only for measuring",
    ALLOWED_HOSTS=["*"],
    CHANNEL_LAYERS={"default": LAYER},
    LOGGING_CONFIG=None,
)
django.setup()

from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.layers import get_channel_layer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.urls import re_path  # noqa: E402

open_sockets = Counter()


class ChatConsumer(AsyncWebsocketConsumer):
    async def connect(self):
        self.group = self.scope["url_route"]["kwargs"]["group"]
        await self.channel_layer.group_add(f"chat_{self.group}", self.channel_name)
        open_sockets[self.group] += 1
        await self.accept()

    async def disconnect(self, code):
        open_sockets[self.group] -= 1
        if not open_sockets[self.group]:
            del open_sockets[self.group]
        await self.channel_layer.group_discard(f"chat_{self.group}", self.channel_name)

    async def receive(self, text_data=None, bytes_data=None):
        data = json.loads(text_data)
        if REDIS_PORT or open_sockets[self.group] >= 2:
            await self.channel_layer.group_send(
                f"chat_{self.group}", {"type": "chat.message", "message": data["message"]}
            )
        else:
            await get_channel_layer().group_send(
                f"push_{data['to_user']}",
                {
                    "type": "push.message",
                    "message": {"message": data["message"], "group": self.group},
                },
            )

    async def chat_message(self, event):
        await self.send(text_data=json.dumps({"message": event["message"]}))


class PushConsumer(AsyncWebsocketConsumer):
    async def connect(self):
        self.group = f"push_{self.scope['url_route']['kwargs']['user']}"
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def disconnect(self, code):
        await self.channel_layer.group_discard(self.group, self.channel_name)

    async def push_message(self, event):
        await self.send(text_data=json.dumps({"event": event["message"]}))


application = ProtocolTypeRouter(
    {
        "websocket": URLRouter(
            [
                re_path(r"^ws/chat/(?P<group>\w+)/$", ChatConsumer.as_asgi()),
                re_path(r"^push/(?P<user>\w+)/$", PushConsumer.as_asgi()),
            ]
        )
    }
)
