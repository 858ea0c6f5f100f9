"""The site that packaging/nginx ships, with the location for the module that its last comment shows."""
import re
import sys
import unittest

from support import MODULE, ROOT

sys.path.insert(0, str(ROOT / "tests" / "package" / "nginx"))

import test_nginx  # noqa: E402
from test_nginx import Relay, wait_until  # noqa: E402


class ModuleRelay(Relay):
    """The relay with a door."""

    def __init__(self, folder, *options, **named):
        self.door = folder / "door.sock"
        super().__init__(folder, *options, "--handover", str(self.door), **named)

    def start(self):
        super().start()
        wait_until("the door", self.door.exists)
        self.door.chmod(0o666)  # nginx's workers are another user


def by_module(site, door, with_login):
    """The site as its last comment says."""
    shown = re.search(r"(?ms)^  #   location ~ [^\n]*\n  #     waystation_pass.*?^  #   }\n", site)
    assert shown, "the site shows no waystation_pass any more; change this test"
    location = re.sub(r"(?m)^  #   ?", "  ", shown[0])
    if with_login:
        location = location.replace("# ", "")
    location = location.replace("/run/waystation/handover.sock", str(door))
    site, count = re.subn(r"(?ms)^  location ~ \^/\(ws/chat\|push\)/ {.*?^  }\n", location, site)
    assert count == 1
    return site


class ByModule:
    """The real relay and the real nginx, and the module between them for sockets."""

    main = f"load_module {MODULE};"
    with_login = False

    def start_relay(self):
        return ModuleRelay(self.folder, *self.options)

    def change(self, site):
        return by_module(super().change(site), self.folder / "door.sock", self.with_login)


class Site(ByModule, test_nginx.Site):
    """Everything that the site promises, with sockets that are pumped."""

    without_relay = 503


class LoginThatExists(ByModule, test_nginx.LoginThatExists):
    with_login = True


class Limits(ByModule, test_nginx.Limits):
    pass


if __name__ == "__main__":
    unittest.main(verbosity=2)
