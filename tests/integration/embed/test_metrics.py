"""What /metrics says of a server that people use."""

import unittest

from support import Server, figures


class Metrics(unittest.TestCase):
    def test_a_process_starts_once(self):
        with Server() as server:
            seen = {figures(server.port)["process_start_time_seconds"] for _ in range(20)}
            self.assertEqual(len(seen), 1, seen)
            self.assertGreater(float(seen.pop()), 1e9)


if __name__ == "__main__":
    unittest.main()
