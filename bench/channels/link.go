package main

import (
	"errors"
	"io"
	"net"
	"os/exec"
	"runtime"
	"sync"
	"time"
)

// link is what lies between the nodes of a cell, each a process of its own.
type link interface {
	place(i int, name string) (place, error)
	start(i int, cmd *exec.Cmd) error
	seen() linkSeen
	probe() (*probe, error) // nil: it has none
	Close() error
}

// errNoTun is why a proxy takes the place of a link between network namespaces.
var errNoTun = errors.New("no link of TUN devices: that needs Linux, root and /dev/net/tun")

// linkSeen is what a link was like.
type linkSeen struct {
	Kind               string  // tun, proxy
	CC, Rmem, Wmem     string  `json:",omitempty"` // of the hosts
	Kernel             string  `json:",omitempty"`
	Dropped, MaxQueued int     // packets; bytes
	LateP50, LateP99   float64 // µs later than due
}

func us(d time.Duration) float64 { return float64(d) / 1e3 }

// socket is a TCP connection as the kernel sees it.
type socket struct {
	CC                          string
	SndBuf, RcvBuf, Window, MSS int // bytes
	Cwnd, Again                 int // segments; sent again
	RTT, MinRTT                 time.Duration
	Sent, Got                   uint64
	Busy, ByWindow, ByBuffer    time.Duration // with something to send; held up by the peer's window, by the send buffer
}

// place implements link.
func (p *path) place(_ int, name string) (place, error) {
	x := place{Name: name, Listen: freeAddr()}
	var err error
	x.Advertise, err = p.proxy(func() string { return x.Listen })
	return x, err
}

func (p *path) start(_ int, cmd *exec.Cmd) error { return cmd.Start() }
func (p *path) seen() linkSeen                   { return linkSeen{Kind: "proxy", Kernel: runtime.GOOS} }

func (p *path) probe() (*probe, error) { return nil, nil }

// Close implements link. A proxy ends with its process.
func (p *path) Close() error { return nil }

// path is the link that connections through a proxy are on, as the model in
// which Partisan's figures are explained: each connection has at most window
// bytes on their way, for one round trip each; all together have at most rate
// bytes a second in each direction. Bytes arrive in their order, half a round
// trip after they were sent.
type path struct {
	rtt    time.Duration
	window int
	rate   int // bytes a second; 0 without limit

	mu   sync.Mutex
	free [2]time.Time // when the line is free again, by direction
}

// turn is when size bytes have left on the line, if they queue up now.
func (p *path) turn(direction, size int) time.Time {
	now := time.Now()
	if p.rate == 0 {
		return now
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.free[direction].Before(now) {
		p.free[direction] = now
	}
	p.free[direction] = p.free[direction].Add(time.Duration(size) * time.Second / time.Duration(p.rate))
	return p.free[direction]
}

// proxy listens on loopback and forwards to an address over the path. It runs
// as long as the process.
func (p *path) proxy(to func() string) (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				out, err := net.Dial("tcp", to())
				if err != nil {
					_ = in.Close()
					return
				}
				go p.carry(0, out, in)
				go p.carry(1, in, out)
			}()
		}
	}()
	return ln.Addr().String(), nil
}

// parcel is bytes on their way.
type parcel struct {
	b  []byte
	at time.Time // of their arrival
}

const parcelSize = 16 << 10

// carry forwards one direction of a connection.
func (p *path) carry(direction int, to, from net.Conn) {
	credits := make(chan struct{}, max(1, p.window/parcelSize))
	way := make(chan parcel, cap(credits))
	go func() {
		defer func() { _ = to.Close() }()
		for x := range way {
			time.Sleep(time.Until(x.at))
			if _, err := to.Write(x.b); err != nil {
				_ = from.Close()
			}
			time.AfterFunc(p.rtt/2, func() { <-credits }) // the acknowledgement
		}
	}()
	defer close(way)
	for {
		credits <- struct{}{}
		b := make([]byte, parcelSize)
		n, err := from.Read(b)
		if n > 0 {
			way <- parcel{b[:n], p.turn(direction, n).Add(p.rtt / 2)}
		} else {
			<-credits
		}
		if err != nil {
			if err != io.EOF {
				_ = to.Close()
			}
			return
		}
	}
}
