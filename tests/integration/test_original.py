"""A client written for the original protocol, with one socket a user, sees no difference.

The original is a model here. With two sockets in a group, both users are present and a message goes
to both. With one socket, it goes as an event to every push socket of `to_user`. The test plays random
conversations with the model and with the server; each client must receive the same.
"""

import random
import unittest

from harness import Case, connect, receive, scaled


class Original:
    """A model of the original server, as a client sees it."""

    def __init__(self):
        self.groups = {}  # group: {user: inbox}
        self.pushes = {}  # user: [inbox]

    def open_chat(self, group, user):
        self.groups.setdefault(group, {})[user] = inbox = []
        return inbox

    def close_chat(self, group, user):
        del self.groups[group][user]

    def open_push(self, user):
        inbox = []
        self.pushes.setdefault(user, []).append(inbox)
        return inbox

    def close_push(self, user, inbox):
        self.pushes[user] = [other for other in self.pushes[user] if other is not inbox]

    def say(self, group, value, to_user):
        sockets = self.groups[group]
        if len(sockets) == 2:
            for inbox in sockets.values():
                inbox.append(f'{{"message":{value}}}')
        else:
            for inbox in self.pushes.get(to_user, []):
                inbox.append(f'{{"event":{{"message":{value},"group":"{group}"}}}}')


class Client:
    """A socket of the server, with the inbox of the model."""

    def __init__(self, ws, inbox):
        self.ws, self.inbox = ws, inbox


class OriginalProtocol(Case):
    OPTIONS = ("--messages-per-second", "0", "--max-connections-per-address", "0")

    async def converse(self, seed, named):
        choose = random.Random(seed)
        model = Original()
        users = ["1", "2", "10", "33"]
        groups = [f"{a}_{b}" for at, a in enumerate(users) for b in users[at + 1:]]
        chats, pushes = {}, []
        for step in range(scaled(300, 100)):
            what = choose.randrange(10)
            group = choose.choice(groups)
            user = choose.choice(group.split("_"))
            if what < 2 and (group, user) not in chats:
                ws = await connect(self.server, f"/ws/chat/{group}/", user if named else None)
                chats[group, user] = Client(ws, model.open_chat(group, user))
            elif what == 2 and (group, user) in chats:
                client = chats.pop((group, user))
                await self.compare([client], first=client)
                model.close_chat(group, user)
                await client.ws.close()
            elif what == 3 and len(pushes) < 6:
                ws = await connect(self.server, f"/push/{user}/")
                pushes.append((user, Client(ws, model.open_push(user))))
            elif what == 4 and pushes and choose.randrange(2):
                user, client = pushes.pop(choose.randrange(len(pushes)))
                await self.compare([client], first=client)
                model.close_push(user, client.inbox)
                await client.ws.close()
            elif chats:
                group, user = choose.choice(list(chats))
                other = [name for name in group.split("_") if name != user][0]
                value = choose.choice(["1", '"hi"', "null", '{"type":"text","body":"x"}', "[1,2]"])
                text = f'{{"message":{value},"to_user":"{other}"}}'
                model.say(group, value, other)
                await chats[group, user].ws.send(text)
                # One step after the other, as in the model.
                await self.compare(list(chats.values()) + [client for _, client in pushes],
                                   first=chats[group, user])
        everyone = list(chats.values()) + [client for _, client in pushes]
        await self.compare(everyone)
        await self.expect_silence(*(client.ws for client in everyone))
        for client in everyone:
            await client.ws.close()

    async def compare(self, clients, first=None):
        """Each client received exactly the frames of the model."""
        await self.wait_for([first] if first else [])
        for client in clients:
            while client.inbox:
                self.assertEqual(await receive(client.ws), client.inbox.pop(0))
            self.assertEqual(list(client.ws.messages), [])

    async def wait_for(self, clients):
        for client in clients:
            await (await client.ws.ping())

    async def test_a_client_with_a_user(self):
        for seed in range(scaled(6, 2)):
            with self.subTest(seed=seed):
                await self.converse(seed, named=True)

    async def test_a_client_without_a_user(self):
        """Like all original clients: only `to_user` tells to which user a socket belongs."""
        for seed in range(100, 100 + scaled(6, 2)):
            with self.subTest(seed=seed):
                await self.converse(seed, named=False)


if __name__ == "__main__":
    unittest.main()
