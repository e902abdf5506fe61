//go:build linux

package tun

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/maquis-go/maquis/internal/linkemu"
)

// Network is hosts and the links between them, of each to each. Its methods
// are safe for concurrent use, but for Close.
type Network struct {
	Hosts []*Host

	o      Options
	wires  [][]*wire // from, to
	epoch  time.Time
	base   int64 // of epoch, by CLOCK_MONOTONIC
	closed chan struct{}
	wg     sync.WaitGroup
	stray  atomic.Uint64
	failed atomic.Uint64
}

// Counters are what has happened to packets of all links.
type Counters struct {
	linkemu.Counters
	Device uint64 // dropped by the kernel before they came to the line
	Stray  uint64 // to no host of the network, or not IPv4
	Failed uint64 // not taken by the receiving device
}

// Open makes a network. Its errors name the option that is wrong, or are a
// *MissingError.
func Open(o Options) (*Network, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	n := &Network{o: o.withDefaults(), closed: make(chan struct{})}
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return nil, err
	}
	n.epoch, n.base = time.Now(), ts.Nano()
	for i := range n.o.Hosts {
		h, err := newHost(i, &n.o)
		if err != nil {
			return nil, errors.Join(err, n.Close())
		}
		n.Hosts = append(n.Hosts, h)
	}
	for i := range n.Hosts {
		n.wires = append(n.wires, make([]*wire, len(n.Hosts)))
		for k, to := range n.Hosts {
			if k == i {
				continue
			}
			line, err := linkemu.New(o.Way, o.Seed+uint64(i*MaxHosts+k))
			if err != nil {
				return nil, errors.Join(err, n.Close())
			}
			w := &wire{n: n, line: line, to: to.dev, wake: make(chan struct{}, 1)}
			n.wires[i][k] = w
			n.wg.Add(1)
			go w.run()
		}
	}
	for i := range n.Hosts {
		n.wg.Add(1)
		go n.read(i)
	}
	return n, nil
}

// Close takes the network away. Processes in its hosts that Host.Start has
// started are killed.
func (n *Network) Close() error {
	close(n.closed)
	var errs []error
	for _, h := range n.Hosts {
		errs = append(errs, h.dev.Close())
	}
	n.wg.Wait()
	for _, h := range n.Hosts {
		h.close()
	}
	return errors.Join(errs...)
}

// Set changes one direction between two hosts, by their index, for packets that
// come from now on.
func (n *Network) Set(from, to int, w linkemu.Way) error {
	if from < 0 || to < 0 || from >= len(n.Hosts) || to >= len(n.Hosts) || from == to {
		return fmt.Errorf("tun: no way from host %d to host %d; there are %d", from, to, len(n.Hosts))
	}
	o := n.o
	o.Way = w
	if err := o.Validate(); err != nil {
		return err
	}
	x := n.wires[from][to]
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.line.Set(w)
}

// Line returns the counters of one direction between two hosts.
func (n *Network) Line(from, to int) linkemu.Counters {
	w := n.wires[from][to]
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.line.Counters()
}

// Counters returns the sums over all links; MaxQueued is the most of any.
func (n *Network) Counters() Counters {
	c := Counters{Stray: n.stray.Load(), Failed: n.failed.Load()}
	for i, h := range n.Hosts {
		c.Device += h.dropped()
		for k := range n.Hosts {
			if k == i {
				continue
			}
			l := n.Line(i, k)
			c.Packets, c.Bytes = c.Packets+l.Packets, c.Bytes+l.Bytes
			c.Arrived, c.ArrivedBytes = c.Arrived+l.Arrived, c.ArrivedBytes+l.ArrivedBytes
			c.Lost, c.LostBytes = c.Lost+l.Lost, c.LostBytes+l.LostBytes
			c.Overflow, c.OverflowBytes = c.Overflow+l.Overflow, c.OverflowBytes+l.OverflowBytes
			c.MaxQueued, c.OnTheWay = max(c.MaxQueued, l.MaxQueued), c.OnTheWay+l.OnTheWay
		}
	}
	return c
}

// now is the time of the lines.
func (n *Network) now() time.Duration { return time.Since(n.epoch) }

// vnetHeader is the length of the header that comes before a packet with
// Options.Offload.
const vnetHeader = 10

// read carries what a host sends to its lines.
func (n *Network) read(i int) {
	defer n.wg.Done()
	urgent()
	head := 0
	if n.o.Offload {
		head = vnetHeader
	}
	big := make([]byte, bigBuffer)
	for {
		m, err := n.Hosts[i].dev.Read(big)
		if err != nil {
			if errors.Is(err, os.ErrClosed) {
				return
			}
			n.failed.Add(1)
			continue
		}
		to := n.destination(big[head:m])
		if to < 0 || to == i {
			n.stray.Add(1)
			continue
		}
		b := big[:m]
		if m > smallBuffer {
			big = bigBuffers.Get().(*[bigBuffer]byte)[:]
		} else {
			small := smallBuffers.Get().(*[smallBuffer]byte)
			b = small[:copy(small[:], b)]
		}
		n.wires[i][to].put(b, wireSize(b[:head], b[head:]))
	}
}

// destination is the index of the host that a packet is for; -1 if there is none.
func (n *Network) destination(p []byte) int {
	if len(p) < 20 || p[0]>>4 != 4 || p[16] != 198 || p[17] != 18 || p[18] != 0 || p[19] == 0 || int(p[19]) > len(n.Hosts) {
		return -1
	}
	return int(p[19]) - 1
}

// wireSize is how many bytes a packet would have on a wire: each of those that
// it stands for has headers.
func wireSize(head, p []byte) int {
	if len(head) < vnetHeader || head[1] == unix.VIRTIO_NET_HDR_GSO_NONE {
		return len(p)
	}
	each := int(binary.NativeEndian.Uint16(head[4:]))
	ip := int(p[0]&15) * 4
	if each == 0 || len(p) < ip+20 {
		return len(p)
	}
	headers := ip + int(p[ip+12]>>4)*4
	return len(p) + (max(len(p)-headers, 1)-1)/each*headers
}
