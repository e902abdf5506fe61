package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// The key-value store of Partisan's evaluation on Riak Core: every value on
// three nodes, a quorum of two, ten reads to a write, keys from a normal
// distribution over 10,000, a storage that takes a millisecond. Values are all
// alike and are not kept for each key: what is measured is their way.
const (
	partitions  = 64
	keySpace    = 10_000
	readsAWrite = 10
	storage     = time.Millisecond
	quorum      = 2
	kvsActors   = 16 // of each node
)

// store spawns the partitions. One serves a request at a time.
func (n *node) store(named func(string, actor.ReceiveFunc)) {
	if n.Cell.Kind != "kvs" {
		return
	}
	value := bytesOf(n.Cell.Size)
	for i := range partitions {
		named(fmt.Sprint("part", i), func(c actor.Context) {
			switch c.Message().(type) {
			case *wrapperspb.Int64Value: // a read
				time.Sleep(storage)
				c.Respond(value)
			case *wrapperspb.BytesValue: // a write
				time.Sleep(storage)
				c.Respond(wrapperspb.Bool(true))
			}
		})
	}
}

// kvs reads and writes with a quorum.
func (n *node) kvs(r *nodeReport, channel string, begin func()) {
	c := &n.Cell
	value := bytesOf(c.Size)
	replica := make([][]*actor.PID, partitions)
	for i := range replica {
		for _, p := range n.All {
			pid := actor.NewPID(n.system.Address(), fmt.Sprint("part", i))
			if p.Name != n.Self.Name {
				pid = n.at(p, fmt.Sprint("part", i), channel)
			}
			replica[i] = append(replica[i], pid)
		}
	}
	var turns atomic.Int64
	begin()
	n.exchange(r, c.Actors, c.For, func(int) error {
		key := int(math.Abs(rand.NormFloat64()*keySpace/6+keySpace/2)) % keySpace
		var m proto.Message = wrapperspb.Int64(int64(key))
		if turns.Add(1)%(readsAWrite+1) == 0 {
			m = value
		}
		pids := replica[key%partitions]
		done := make(chan error, len(pids))
		for _, pid := range pids {
			go func() { done <- n.ask(pid, m) }()
		}
		var err error
		for ok, i := 0, 0; i < len(pids) && ok < quorum; i++ {
			if e := <-done; e != nil {
				err = e
			} else if ok++; ok == quorum {
				err = nil
			}
		}
		return err
	})
}
