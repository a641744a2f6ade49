"""A name server that knows one zone, given as text on the command line. Prints its port; ends with its standard input."""

import sys

from dnslib.server import DNSLogger, DNSServer
from dnslib.zoneresolver import ZoneResolver

quiet = DNSLogger(log="-request,-reply,-truncated,-error", prefix=False)
server = DNSServer(ZoneResolver(sys.argv[1]), address="127.0.0.1", port=0, logger=quiet)
server.start_thread()
print(server.server.server_address[1], flush=True)
sys.stdin.read()
server.stop()
