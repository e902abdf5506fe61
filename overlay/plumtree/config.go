package plumtree

import (
	"errors"
	"fmt"
	"time"

	"github.com/maquis-go/maquis/overlay"
)

// Config of a Plumtree. It must not be changed after New.
type Config struct {
	Self overlay.Peer
	// First is above which the numbers of this node's messages begin: beyond
	// those of a predecessor of the machine in the same life of the node.
	First uint64

	// Newcomer: the node's life begins with this machine. It does not ask for what
	// was published more than two seconds before it had its first neighbor: a
	// newcomer needs no history, and in a cluster where many join at once history
	// is much.
	Newcomer bool

	// Missing is how long an announced message may take to come by itself,
	// timeout 1 in section 3.8: above the time of a broadcast. Our choice: 500 ms.
	// When what was asked for comes by itself after all, Missing and Retry are
	// doubled, up to eight times, and are as before ten seconds after the last
	// time.
	Missing time.Duration
	// Retry is how long a message asked for may take until another announcer is
	// asked, timeout 2 in section 3.8: a round trip. Our choice: 250 ms.
	Retry time.Duration
	// LazyTick is how long announcements are collected to go out together. Zero:
	// they go at once, as in the paper's experiments. Our choice: 20 ms.
	LazyTick time.Duration
	// LazyBusy is the same for announcements that follow others within twice that
	// time. Zero: LazyTick.
	LazyBusy time.Duration
	// Threshold is by how many hops an announcement must be earlier for its link
	// to become part of the tree instead of the one that brought the payload,
	// section 3.8. The paper has 3 for one sender. Zero: never.
	Threshold int

	// Trees bounds the trees that are remembered, the least recently used of
	// which is forgotten, and those that senders make. Our choice: 64.
	Trees int
	// Often is how many messages within Recent make a sender take a tree of its
	// own. Our choice: 3.
	Often int
	// Spread is for how many hops a message that uses another's tree goes along
	// all links. Our choice: 4: with five neighbors some 400 nodes, 4 % of
	// 10,000.
	Spread int
	// HeadStart: a message that uses another's tree is first brought to the
	// tree's root, which need not be a neighbor (overlay.Carry), and goes from
	// there by the tree's own ways. If it has not come back along the tree after
	// so long, it goes out from here, too. Zero: at once and without the root.
	// Our choice: 20 ms, a dial and ten hops in one place; elsewhere little
	// beside the ways.
	HeadStart time.Duration
	// Lift reports whether messages of a subject have that start. Nil: all have.
	Lift func(subject string) bool

	// KeepMessages, KeepBytes and Recent bound what is kept for those who ask:
	// messages, bytes of payload, age. Our choice: 1024, 16 MiB, 60 s.
	KeepMessages int
	KeepBytes    int
	Recent       time.Duration
	// Origins bounds the senders of whom is remembered what was delivered. Our
	// choice: 1024.
	Origins int
	// MaxPayload bounds a payload in bytes. Our choice: 48 KiB, so that the
	// message fits into a frame of the control channel.
	MaxPayload int
}

// DefaultConfig returns a Config with the defaults for a node.
func DefaultConfig(self overlay.Peer) Config {
	return Config{
		Self: self, Missing: 500 * time.Millisecond, Retry: 250 * time.Millisecond, LazyTick: 20 * time.Millisecond, Threshold: 3,
		Trees: 64, Often: 3, Spread: 4, HeadStart: 20 * time.Millisecond,
		KeepMessages: 1024, KeepBytes: 16 << 20, Recent: time.Minute, Origins: 1024, MaxPayload: 48 << 10,
	}
}

// Validate reports everything that is wrong.
func (c Config) Validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf("plumtree: "+format, args...)) }
	if c.Self.Name == "" || c.Self.Incarnation == 0 {
		wrong("Config.Self needs a name and an incarnation")
	}
	if c.Missing <= 0 || c.Retry <= 0 || c.LazyTick < 0 || c.LazyBusy < 0 || c.HeadStart < 0 || c.Recent <= 0 {
		wrong("Config times are %v, %v, %v, %v, %v, %v; use positive ones, 0 for no LazyTick, LazyBusy or HeadStart",
			c.Missing, c.Retry, c.Recent, c.LazyTick, c.LazyBusy, c.HeadStart)
	}
	if c.Threshold < 0 || c.Spread < 0 || c.Spread > maxSpread {
		wrong("Config.Threshold and Spread are %d and %d; use 0 or more, Spread at most %d", c.Threshold, c.Spread, maxSpread)
	}
	if c.Trees < 1 || c.Often < 1 || c.Origins < 1 || c.KeepMessages < 1 || c.KeepBytes < 1 {
		wrong("Config.Trees, Often, Origins, KeepMessages and KeepBytes are %d, %d, %d, %d, %d; use at least 1", c.Trees, c.Often, c.Origins, c.KeepMessages, c.KeepBytes)
	}
	if c.MaxPayload < 1 || c.MaxPayload > 48<<10 {
		wrong("Config.MaxPayload is %d; use 1 to %d bytes", c.MaxPayload, 48<<10)
	}
	return errors.Join(errs...)
}

// Bounds on what a peer may say, and on what is remembered of it.
const (
	maxNeighbors = 256 // links in trees; more are not used
	maxName      = 255
	maxSubject   = 64
	maxHops      = 1 << 16
	maxSpread    = 16
	maxIDs       = 200              // in a message: below 64 KiB with names of any length
	maxMissing   = 1024             // messages announced first by one neighbor
	maxAskers    = 16               // announcers of a message that is missing
	maxLifted    = 64               // messages of our own that roots have a head start with
	lowFor       = 10 * time.Second // how long none is lifted after one did not come back
	joining      = 2 * time.Second  // between a newcomer's being known as a member and its first neighbor
	// maxGrafts bounds how many messages a neighbor may ask for in Recent;
	// KeepBytes bounds their bytes.
	maxGrafts = 4096
)
