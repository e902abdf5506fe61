//go:build linux && netns

package faultnet

import (
	"errors"
	"os/exec"

	"github.com/maquis-go/maquis/internal/linkemu"
	"github.com/maquis-go/maquis/internal/linkemu/tun"
)

// Links puts each node into a network namespace of its own, with an emulated link
// to each other. It can do all to packets but turn bits over.
type Links struct{ *tun.Network }

// linkBuffer is how many bytes wait for a line at most.
const linkBuffer = 1 << 20

// OpenLinks makes a bed for so many nodes. Its error is a *tun.MissingError where
// there can be none.
func OpenLinks(nodes int, seed uint64) (Links, error) {
	n, err := tun.Open(tun.Options{Hosts: nodes, Way: linkemu.Way{Buffer: linkBuffer}, Seed: seed})
	return Links{n}, err
}

// Name implements Bed.
func (Links) Name() string { return "links" }

// Wrapped implements Bed.
func (Links) Wrapped() bool { return false }

// Set implements Bed.
func (l Links) Set(c *Cluster, ways []Way) error {
	set := make(map[[2]int]linkemu.Way)
	for _, w := range ways {
		if w.Corrupt > 0 {
			return errors.New("faultnet: emulated links turn no bits over")
		}
		x := linkemu.Way{Delay: w.Latency, Jitter: w.Jitter, Loss: w.Loss, Rate: int64(w.Rate), Buffer: linkBuffer}
		if w.Cut {
			x.Loss = 1
		}
		set[[2]int{c.number(w.From), c.number(w.To)}] = x
	}
	for from := range l.Hosts {
		for to := range l.Hosts {
			if from == to {
				continue
			}
			x, ok := set[[2]int{from, to}]
			if !ok {
				x.Buffer = linkBuffer
			}
			if err := l.Network.Set(from, to, x); err != nil {
				return err
			}
		}
	}
	return nil
}

// Reset implements Bed: it cannot.
func (Links) Reset(*Cluster, string, string) error {
	return errors.New("faultnet: emulated links reset no connections")
}

// host implements housed.
func (l Links) host(i int) string {
	if i >= len(l.Hosts) {
		return ""
	}
	return l.Hosts[i].Addr.String()
}

// start implements housed.
func (l Links) start(i int, cmd *exec.Cmd) error { return l.Hosts[i].Start(cmd) }
