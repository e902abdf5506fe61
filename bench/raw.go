package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// The raw stack is what a connection alone can do: frames of a head and a
// payload, many to a write, no actors, no codec. It is the ceiling of the
// others.
//
//	length u32, kind u8, sender u32, payload
const rawHead = 9

const (
	rawMessage = iota // counted; the sender is told every so many
	rawAck            // so many were counted: payload u32
	rawEvery          // acknowledge every so many: payload u32
	rawRequest        // answered with the same
)

// rawPeer is one end of a raw connection. A writer flushes what was queued
// meanwhile; senders wait while much is.
type rawPeer struct {
	conn net.Conn
	mu   sync.Mutex
	room sync.Cond
	buf  []byte
	busy bool
	wake chan struct{}
}

func newRawPeer(c net.Conn) *rawPeer {
	p := &rawPeer{conn: c, wake: make(chan struct{}, 1)}
	p.room.L = &p.mu
	go p.write()
	return p
}

func (p *rawPeer) send(kind byte, sender uint32, payload []byte) {
	p.mu.Lock()
	for len(p.buf) > 1<<20 {
		p.room.Wait()
	}
	p.buf = binary.BigEndian.AppendUint32(p.buf, uint32(5+len(payload)))
	p.buf = append(p.buf, kind)
	p.buf = binary.BigEndian.AppendUint32(p.buf, sender)
	p.buf = append(p.buf, payload...)
	busy := p.busy
	p.busy = true
	p.mu.Unlock()
	if !busy {
		p.wake <- struct{}{}
	}
}

func (p *rawPeer) write() {
	var out []byte
	for range p.wake {
		for {
			p.mu.Lock()
			if len(p.buf) == 0 {
				p.busy = false
				p.mu.Unlock()
				break
			}
			out, p.buf = p.buf, out[:0]
			p.room.Broadcast()
			p.mu.Unlock()
			if _, err := p.conn.Write(out); err != nil {
				return
			}
		}
	}
}

func (p *rawPeer) read(f func(kind byte, sender uint32, payload []byte)) error {
	r := bufio.NewReaderSize(p.conn, 256<<10)
	var body []byte
	for {
		head, err := r.Peek(rawHead)
		if err != nil {
			return err
		}
		n := int(binary.BigEndian.Uint32(head)) - 5
		kind, sender := head[4], binary.BigEndian.Uint32(head[5:])
		_, _ = r.Discard(rawHead)
		if n > cap(body) {
			body = make([]byte, n)
		}
		if _, err := io.ReadFull(r, body[:n]); err != nil {
			return err
		}
		f(kind, sender, body[:n])
	}
}

// rawServe is the server: it counts and answers. It prints its address and
// ends with its input.
func rawServe() error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(ln.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = ln.Close()
	}()
	for {
		c, err := ln.Accept()
		if err != nil {
			return nil
		}
		go func() {
			p := newRawPeer(c)
			got, every := make(map[uint32]uint32), uint32(1)
			_ = p.read(func(kind byte, sender uint32, payload []byte) {
				switch kind {
				case rawMessage:
					if got[sender]++; got[sender] == every {
						p.send(rawAck, sender, binary.BigEndian.AppendUint32(nil, every))
						got[sender] = 0
					}
				case rawEvery:
					every = binary.BigEndian.Uint32(payload)
				case rawRequest:
					p.send(rawRequest, sender, payload)
				}
			})
		}()
	}
}

// rawRun takes a measure at the client.
func rawRun(addr string, p params) (result, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return result{}, err
	}
	defer c.Close()
	peer := newRawPeer(c)
	if p.kind == "oneway" {
		return rawOneWay(peer, p), nil
	}
	return rawRequests(peer, p), nil
}

func rawOneWay(peer *rawPeer, p params) result {
	limit := int64(max(8, window(p.size)/p.senders))
	peer.send(rawEvery, 0, binary.BigEndian.AppendUint32(nil, uint32(max(1, limit/4))))
	acked := make([]atomic.Int64, p.senders)
	room := make([]chan struct{}, p.senders)
	for i := range room {
		room[i] = make(chan struct{}, 1)
	}
	var total atomic.Int64
	go func() {
		_ = peer.read(func(_ byte, sender uint32, payload []byte) {
			n := int64(binary.BigEndian.Uint32(payload))
			acked[sender].Add(n)
			total.Add(n)
			select {
			case room[sender] <- struct{}{}:
			default:
			}
		})
	}()
	payload := make([]byte, p.size)
	began := time.Now()
	end := began.Add(p.duration)
	var wg sync.WaitGroup
	for s := range p.senders {
		wg.Add(1)
		go func() {
			defer wg.Done()
			late := time.NewTimer(time.Until(end))
			defer late.Stop()
			for sent := int64(1); sent%64 != 0 || time.Now().Before(end); sent++ {
				for sent-acked[s].Load() > limit {
					select {
					case <-room[s]:
					case <-late.C:
						return
					}
				}
				peer.send(rawMessage, uint32(s), payload)
			}
		}()
	}
	wg.Wait()
	secs := time.Since(began).Seconds()
	return result{Messages: total.Load(), Seconds: secs, BulkMBs: float64(total.Load()) * float64(p.size) / secs / 1e6}
}

func rawRequests(peer *rawPeer, p params) result {
	answers := make([]chan struct{}, p.senders)
	for i := range answers {
		answers[i] = make(chan struct{}, 1)
	}
	go func() {
		_ = peer.read(func(_ byte, sender uint32, _ []byte) { answers[sender] <- struct{}{} })
	}()
	payload := make([]byte, p.size)
	return outstanding(p, func(i int) error {
		peer.send(rawRequest, uint32(i), payload)
		<-answers[i]
		return nil
	})
}
