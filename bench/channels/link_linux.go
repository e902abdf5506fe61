package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"

	"github.com/maquis-go/maquis/internal/linkemu"
	"github.com/maquis-go/maquis/internal/linkemu/tun"
)

// tunLink puts each node into a network namespace of its own.
type tunLink struct {
	*tun.Network
	cell *cell
}

// buffer is how much waits for a line without a rate: nothing is dropped there.
const unlimited = 256 << 20

// openTun opens the link of a cell; its error says why there is none.
func openTun(c *cell, nodes int) (link, error) {
	w := linkemu.Way{Delay: c.RTT / 2, Rate: int64(c.Rate), Buffer: c.Buffer}
	if w.Rate == 0 {
		w.Buffer = unlimited
	}
	o := tun.Options{Hosts: nodes, Way: w, Offload: true, Sysctl: map[string]string{"net.ipv4.tcp_no_metrics_save": "1"}}
	if c.CC != "" {
		o.Sysctl["net.ipv4.tcp_congestion_control"] = c.CC
	}
	if c.Window > 0 { // the kernel takes half of a buffer for itself
		o.Sysctl["net.ipv4.tcp_rmem"] = fmt.Sprint("4096 131072 ", 2*c.Window)
		o.Sysctl["net.ipv4.tcp_wmem"] = fmt.Sprint("4096 16384 ", 2*c.Window)
	}
	n, err := tun.Open(o)
	var missing *tun.MissingError
	if errors.As(err, &missing) {
		return nil, errors.Join(errNoTun, err)
	}
	if err != nil {
		return nil, err
	}
	return &tunLink{n, c}, nil
}

func (t *tunLink) place(i int, name string) (place, error) {
	addr := t.Hosts[i].Addr.String() + ":7000"
	return place{name, addr, addr}, nil
}

func (t *tunLink) start(i int, cmd *exec.Cmd) error { return t.Hosts[i].Start(cmd) }

func (t *tunLink) seen() (s linkSeen) {
	c := t.Counters()
	late := t.Lateness()
	s = linkSeen{Kind: "tun", Dropped: int(c.Overflow + c.Device + c.Failed), MaxQueued: c.MaxQueued, LateP50: us(late.P50), LateP99: us(late.P99)}
	h := t.Hosts[0]
	s.CC, _ = h.Sysctl("net.ipv4.tcp_congestion_control")
	s.Rmem, _ = h.Sysctl("net.ipv4.tcp_rmem")
	s.Wmem, _ = h.Sysctl("net.ipv4.tcp_wmem")
	b, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	s.Kernel = string(b)
	return s
}

// probe implements link: from the client to the server.
func (t *tunLink) probe() (*probe, error) {
	var ln net.Listener
	p := new(probe)
	err := t.Hosts[0].Do(func() (err error) {
		ln, err = net.Listen("tcp", t.Hosts[0].Addr.String()+":7001")
		return err
	})
	if err != nil {
		return nil, err
	}
	defer func() { _ = ln.Close() }()
	err = t.Hosts[1].Do(func() (err error) {
		p.near, err = net.Dial("tcp", ln.Addr().String())
		return err
	})
	if err != nil {
		return nil, err
	}
	p.far, err = ln.Accept()
	return p, err
}
