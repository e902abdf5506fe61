package actors

import (
	"context"
	"net"
	"slices"
	"strings"

	"github.com/maquis-go/maquis/channelmgr"
	"github.com/maquis-go/maquis/channelmgr/handshake"
	"github.com/maquis-go/maquis/peerservice/discovery"
	"github.com/maquis-go/maquis/peerservice/discovery/doctor"
)

// Diagnose asks once the sources of the node that the options describe, knocks at
// each candidate and each seed, and reports what came of it, with remedies. Nothing
// is started, announced or joined; the node may run meanwhile. An error means that
// the options cannot be used; what is wrong beyond that is in the report. ctx bounds
// it all; sources have 10 s and each candidate as long as a dial and a handshake.
// progress is told what is waited for; it may be nil.
func Diagnose(ctx context.Context, progress func(string), opts ...Option) (*doctor.Report, error) {
	code, err := collect(opts)
	if err != nil {
		return nil, err
	}
	o, _, err := code.configured()
	if err != nil {
		return nil, err
	}
	inc, err := newIncarnation()
	if err != nil {
		return nil, err
	}
	own, name := o.advertise, o.name
	host, port, _ := net.SplitHostPort(o.listen)
	if len(o.ports) > 0 || port == "0" { // it is found at the start
		port = "doctor"
	} else if len(own) == 0 {
		if host == "" || net.ParseIP(host).IsUnspecified() {
			if host, err = o.ownIP(); err != nil {
				return nil, err
			}
		}
		own = []string{net.JoinHostPort(host, port)}
	}
	if strings.HasSuffix(name, "-") {
		name += port
	}
	sc := o.security
	sc.Cluster, sc.Node = o.cluster, name
	sec, err := handshake.NewSecurity(sc)
	if err != nil {
		return nil, err
	}
	self := discovery.Self{Cluster: o.cluster, Name: name, Addrs: own}
	if sc.Mode == handshake.ModeSecret {
		self.Secrets = sc.Secrets
	}
	hello := handshake.Hello{Cluster: o.cluster, Name: name, Incarnation: inc, Generation: 1, Addrs: own[:min(len(own), 8)], MaxMessage: 1}
	if len(own) == 0 {
		hello.Addrs = []string{"nowhere:0"}
	}
	timing := o.timing.Or(channelmgr.DefaultTiming())
	return doctor.Run(ctx, doctor.Config{
		Strategies: o.discovery, Seeds: slices.Compact(slices.Sorted(slices.Values(o.seeds))), Self: self, Hello: hello, Security: sec, Transport: o.transport,
		Try: timing.DialTimeout + timing.HandshakeTimeout, Progress: progress,
	}), nil
}
