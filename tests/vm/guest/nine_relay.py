#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The RDMA side of a 9P server: takes one client's messages off an RC queue pair and gives each
to a 9P server on TCP (Debian's diod speaks no RDMA), and its answers back.

  nine_relay.py ADDRESS PORT SERVER_PORT

9P over RDMA has no framing of its own: a message is one SEND, an answer another. One message is
under way at a time, which 9P allows a server. Ends when the connection does.
"""

import socket
import struct
import sys

from pyverbs import enums, librdmacm_enums
from pyverbs.cmid import CMID, AddrInfo, ConnParam
from pyverbs.qp import QPCap, QPInitAttr

LARGEST = 1 << 20
# The kernel's client has at most 32 requests out.
RECEIVES = 32


def exactly(stream: socket.socket, length: int) -> bytes:
    """The next bytes of a stream; EOFError at its end."""
    data = bytearray()
    while len(data) < length:
        part = stream.recv(length - len(data))
        if not part:
            raise EOFError("the 9P server has gone")
        data += part
    return bytes(data)


def relay(connection: CMID, server: socket.socket) -> int:
    """Relay until the client goes; how many messages there were."""
    receives = [connection.reg_msgs(LARGEST) for _ in range(RECEIVES)]
    answer = connection.reg_msgs(LARGEST)
    for region in receives:
        connection.post_recv(region)
    connection.accept(ConnParam(retry=7, rnr_retry=7))
    print("connected", flush=True)
    count = 0
    while True:
        done = connection.get_recv_comp()
        if done is None or done.status != enums.IBV_WC_SUCCESS:
            return count
        region = receives[count % RECEIVES]
        message = region.read(done.byte_len, 0)
        connection.post_recv(region)
        server.sendall(message)
        head = exactly(server, 4)
        (length,) = struct.unpack("<I", head)
        answer.write(head + exactly(server, length - 4), length)
        connection.post_send(answer, length=length)
        sent = connection.get_send_comp()
        if sent is None or sent.status != enums.IBV_WC_SUCCESS:
            return count
        count += 1


def main() -> None:
    address, port, server_port = sys.argv[1:4]
    where = AddrInfo(
        src=address,
        src_service=port,
        port_space=librdmacm_enums.RDMA_PS_TCP,
        flags=librdmacm_enums.RAI_PASSIVE,
    )
    capacity = QPCap(max_send_wr=4, max_recv_wr=RECEIVES, max_send_sge=1, max_recv_sge=1)
    listener = CMID(
        creator=where, qp_init_attr=QPInitAttr(qp_type=enums.IBV_QPT_RC, cap=capacity, sq_sig_all=1)
    )
    listener.listen(1)
    print("listening", flush=True)
    connection = listener.get_request()
    with socket.create_connection(("127.0.0.1", int(server_port))) as server:
        print(relay(connection, server), "messages", flush=True)


main()
