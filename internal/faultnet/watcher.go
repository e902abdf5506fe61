//go:build linux

package faultnet

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"

	maquis "github.com/maquis-go/maquis/actors"
	"github.com/maquis-go/maquis/channelmgr"
)

// again has the watcher watch a node once more.
type again struct{ node string }

// watcher watches the echo actor of every other member, in each of its lives,
// and judges what it is told: one Terminated for each watch, and that before
// the node's end.
func (n *node) watcher() *actor.Props {
	up := make(map[string]uint64)    // the life that is up
	open := make(map[string]bool)    // watches
	why := actor.TerminatedReason(0) // of the last Terminated
	return actor.PropsFromFunc(func(c actor.Context) {
		watch := func(name string) {
			if name != n.cfg.Name && !open[name] && up[name] != 0 {
				open[name] = true
				c.Watch(n.PID(name, "echo"))
			}
		}
		comes := func(m maquis.Member) {
			if open[m.Name] && up[m.Name] != 0 && up[m.Name] != uint64(m.Incarnation) {
				n.violation("%s is up as life %d, and the watch of its life %d was not ended", m.Name, m.Incarnation, up[m.Name])
			}
			up[m.Name] = uint64(m.Incarnation)
			watch(m.Name)
		}
		ends := func(m maquis.Member) {
			if open[m.Name] && up[m.Name] == uint64(m.Incarnation) {
				n.violation("%s has ended, and its watch was not", m.Name)
			}
			delete(up, m.Name)
		}
		switch m := c.Message().(type) {
		case *maquis.Snapshot:
			for _, k := range m.Members {
				if k.Status == maquis.Alive || k.Status == maquis.Suspect {
					comes(k)
				}
			}
		case *maquis.NodeUp:
			comes(m.Member)
		case *maquis.NodeDown:
			ends(m.Member)
		case *maquis.NodeLeft:
			ends(m.Member)
		case *actor.Terminated:
			who, _ := channelmgr.ParsePIDAddress(m.Who.Address)
			if !open[who.Name] {
				n.violation("the watch of %s was ended twice: %v, and now %v", who.Name, why, m.Why)
			}
			why = m.Why
			n.say(Line{Event: "terminated", Node: who.Name, Life: up[who.Name], Detail: m.Why.String()})
			delete(open, who.Name)
			if m.Why != actor.TerminatedReason_AddressTerminated { // its actors are not there yet
				self := c.Self()
				time.AfterFunc(100*time.Millisecond, func() { n.system.Root.Send(self, again{who.Name}) })
			}
		case again:
			watch(m.node)
		}
	})
}
