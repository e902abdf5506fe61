// Package tun connects hosts by emulated links: each host is a network
// namespace of Linux with a TUN device, and this process carries the packets
// between them, each direction through a linkemu.Line. The hosts' TCP is the
// kernel's own.
//
// It needs root (CAP_SYS_ADMIN and CAP_NET_ADMIN, also those of a user
// namespace) and /dev/net/tun; Open says by a MissingError what is not there.
// The ip command is not needed. Namespaces have no names and devices are not
// persistent: the kernel removes both with this process, however it ends, and
// kills what Host.Start has started.
//
// How exact it is, on 2 cores of a virtual machine: see the tests, which print
// how late packets were; Network.Lateness tells it for any run. A packet is
// never early. The time between a host's send and our read is not in that
// figure; at no delay a round trip shows it.
package tun
