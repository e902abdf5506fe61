package main

import (
	"io"
	"net"
	"sync"
	"time"
)

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
