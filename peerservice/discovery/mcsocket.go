package discovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// sockets are one UDP socket for IPv4 and one for IPv6, each for all groups
// and interfaces, that other processes on the host share.
type sockets struct {
	m      Multicast
	four   *ipv4.PacketConn
	six    *ipv6.PacketConn
	conns  []net.PacketConn
	in     chan heardPacket
	closed chan struct{}
	wg     sync.WaitGroup
	groups []netip.Addr
}

// open binds the sockets and joins the groups. It fails if no group can be
// joined in the end, or no address bound.
func (m Multicast) open() (air, error) {
	s := &sockets{m: m, in: make(chan heardPacket, 64), closed: make(chan struct{})}
	groups := m.Groups
	if len(groups) == 0 {
		groups = []string{mcGroup4, mcGroup6}
	}
	var errs []error
	if m.Mode == "broadcast" || m.Mode == "both" {
		errs = append(errs, s.bind(false))
	}
	for _, g := range groups {
		if m.Mode == "broadcast" {
			break
		}
		ip := netip.MustParseAddr(g)
		if err := s.bind(ip.Is6()); err != nil {
			errs = append(errs, err)
			continue
		}
		s.groups = append(s.groups, ip)
	}
	if len(s.groups) > 0 {
		joined, err := s.join()
		if errs = append(errs, err); joined == 0 && m.Mode != "both" {
			s.close()
			return nil, errors.Join(errs...)
		}
	}
	if len(s.conns) == 0 {
		s.close()
		return nil, errors.Join(errs...)
	}
	for _, c := range s.conns {
		s.wg.Go(func() { s.receive(c) })
	}
	go func() { s.wg.Wait(); close(s.in) }()
	return s, nil
}

func (s *sockets) bind(v6 bool) error {
	network := "udp4"
	if v6 {
		network = "udp6"
	}
	if v6 && s.six != nil || !v6 && s.four != nil {
		return nil
	}
	host := s.m.Listen
	if ip, err := netip.ParseAddr(host); err == nil && ip.Is6() != v6 {
		return fmt.Errorf("Listen %s is not of the family of the group", host)
	}
	port := cmp.Or(s.m.Port, DefaultPort)
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		if cerr := c.Control(func(fd uintptr) { err = shareAddress(fd) }); cerr != nil {
			return cerr
		}
		return err
	}}
	conn, err := lc.ListenPacket(context.Background(), network, net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return fmt.Errorf("%w; does another program hold UDP port %d for itself?", err, port)
	}
	s.conns = append(s.conns, conn)
	ttl := cmp.Or(s.m.TTL, 1)
	if v6 {
		s.six = ipv6.NewPacketConn(conn)
		_ = s.six.SetMulticastHopLimit(ttl)
		_ = s.six.SetMulticastLoopback(true)
	} else {
		s.four = ipv4.NewPacketConn(conn)
		_ = s.four.SetMulticastTTL(ttl)
		_ = s.four.SetMulticastLoopback(true)
	}
	return nil
}

// interfaces are those that are up now and asked for.
func (s *sockets) interfaces() (list []net.Interface, err error) {
	all, err := net.Interfaces()
	for _, i := range all {
		if i.Flags&net.FlagUp != 0 && (len(s.m.Interfaces) == 0 || slices.Contains(s.m.Interfaces, i.Name)) {
			list = append(list, i)
		}
	}
	return list, err
}

// join joins all groups on all interfaces; the system says no to what was
// joined before.
func (s *sockets) join() (joined int, err error) {
	list, err := s.interfaces()
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, i := range list {
		for _, g := range s.groups {
			addr := &net.UDPAddr{IP: g.AsSlice()}
			if g.Is6() {
				err = s.six.JoinGroup(&i, addr)
			} else {
				err = s.four.JoinGroup(&i, addr)
			}
			if err == nil || errors.Is(err, syscall.EADDRINUSE) {
				joined++
			} else {
				errs = append(errs, fmt.Errorf("join %s on %s: %w", g, i.Name, err))
			}
		}
	}
	if joined == 0 && len(errs) == 0 {
		errs = append(errs, errors.New("no network interface is up"))
	}
	return joined, errors.Join(errs...)
}

// send sends to every group on every interface, and to every broadcast
// address. It fails if nothing could be sent.
func (s *sockets) send(b []byte) error {
	if len(s.groups) > 0 {
		_, _ = s.join() // an interface may have come up
	}
	list, err := s.interfaces()
	if err != nil {
		return err
	}
	port := cmp.Or(s.m.Port, DefaultPort)
	sent := 0
	var errs []error
	did := func(where string, err error) {
		if err == nil {
			sent++
		} else {
			errs = append(errs, fmt.Errorf("%s: %w", where, err))
		}
	}
	for _, i := range list {
		for _, g := range s.groups {
			to := &net.UDPAddr{IP: g.AsSlice(), Port: port}
			if g.Is6() {
				to.Zone = i.Name
				_, err = s.six.WriteTo(b, &ipv6.ControlMessage{IfIndex: i.Index}, to)
			} else {
				_, err = s.four.WriteTo(b, &ipv4.ControlMessage{IfIndex: i.Index}, to)
			}
			did(i.Name, err)
		}
		if s.m.Mode == "broadcast" || s.m.Mode == "both" {
			for _, ip := range broadcasts(i) {
				_, err := s.four.WriteTo(b, nil, &net.UDPAddr{IP: ip, Port: port})
				did(ip.String(), err)
			}
		}
	}
	if sent > 0 {
		return nil
	}
	return errors.Join(append(errs, errors.New("no interface to send on"))...)
}

// broadcasts are the broadcast addresses of an interface's IPv4 networks.
func broadcasts(i net.Interface) (list []net.IP) {
	addrs, _ := i.Addrs()
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok || n.IP.To4() == nil || len(n.Mask) != 4 {
			continue
		}
		ip := slices.Clone(n.IP.To4())
		for k := range ip {
			ip[k] |= ^n.Mask[k]
		}
		list = append(list, ip)
	}
	return list
}

func (s *sockets) receive(c net.PacketConn) {
	buf := make([]byte, packetMax+1) // one more byte tells what is too long
	for {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			select { // on some systems an error of an earlier send is told here
			case <-s.closed:
				return
			case <-time.After(10 * time.Millisecond):
				continue
			}
		}
		p := heardPacket{data: slices.Clone(buf[:n])}
		if u, ok := from.(*net.UDPAddr); ok {
			p.from = u.AddrPort()
		}
		select {
		case s.in <- p:
		case <-s.closed:
			return
		}
	}
}

func (s *sockets) heard() <-chan heardPacket { return s.in }

func (s *sockets) local(ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	if ip.IsLoopback() {
		return true
	}
	addrs, _ := net.InterfaceAddrs()
	return slices.ContainsFunc(addrs, func(a net.Addr) bool {
		n, ok := a.(*net.IPNet)
		return ok && n.IP.Equal(ip.AsSlice())
	})
}

func (s *sockets) close() {
	select {
	case <-s.closed:
		return
	default:
	}
	close(s.closed)
	for _, c := range s.conns {
		c.Close()
	}
	s.wg.Wait()
}
