"""The example: a page by HTTPS and chat by wss, on one port."""

import os
import re
import subprocess
import threading
import unittest

from support import RawSocket
from harness import PATIENCE, Server


class Appliance:
    """The running example, for RawSocket and Server's requests."""

    http_connection = Server.http_connection

    def __enter__(self):
        self._process = subprocess.Popen(
            [os.environ["WAYSTATION_APPLIANCE"], "0", os.environ["WAYSTATION_PEM"]],
            stdout=subprocess.PIPE, text=True)
        watchdog = threading.Timer(PATIENCE, self._process.kill)
        watchdog.start()
        self.port = int(re.fullmatch(r"https://127\.0\.0\.1:(\d+)\n",
                                     self._process.stdout.readline()).group(1))
        watchdog.cancel()
        return self

    def __exit__(self, *_):
        self._process.terminate()
        status = self._process.wait(PATIENCE)
        self._process.stdout.close()
        assert status == 0, status


class Example(unittest.TestCase):
    def test_serves_its_page_and_chat(self):
        with Appliance() as appliance:
            link = appliance.http_connection()
            link.request("GET", "/")
            self.assertIn(b"Boiler", link.getresponse().read())
            link.close()
            with RawSocket(appliance) as alice, RawSocket(appliance) as bob:
                alice.open("/ws/chat/alice_bob/", "alice")
                bob.open("/ws/chat/alice_bob/", "bob")
                alice.say('{"message": "hello"}')
                for ws in (alice, bob):
                    self.assertEqual(ws.read_message(), '{"message":"hello"}')


if __name__ == "__main__":
    unittest.main()
