package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/asynkron/protoactor-go/actor"

	maquis "github.com/maquis-go/maquis/actors"
)

// workerCommand is the hidden command of a worker process. What it needs comes
// by environment: a secret is never an argument.
const (
	workerCommand = "worker"
	envSecret     = "MAQUIS_DEMO_SECRET"
	envSeed       = "MAQUIS_DEMO_SEED"
	envPlace      = "MAQUIS_DEMO_PLACE" // which of how many processes it is, and the overlay
)

// counterKind is the kind of the actors that count.
const counterKind = "counter"

func counterProps() *actor.Props {
	return actor.PropsFromFunc(func(c actor.Context) {
		if m, ok := c.Message().(*Chunk); ok {
			counts, words := countChunk(m.GetText())
			c.Respond(&Counted{Id: m.GetId(), Words: words, Counts: counts})
		}
	})
}

// runWorker is a worker process. It ends with its standard input: even a
// parent that is killed leaves no process behind.
func runWorker(ctx context.Context, in io.Reader) error {
	var i, n int
	var kind string
	if _, err := fmt.Sscanf(os.Getenv(envPlace), "%d %d %s", &i, &n, &kind); err != nil {
		return fmt.Errorf("%s=%q: %w", envPlace, os.Getenv(envPlace), err)
	}
	d, err := maquis.Start(ctx, newSystem(),
		maquis.WithProfile("test"), maquis.WithName(nodeName(i)), maquis.WithOverlays(overlayOf(kind, i, n)), maquis.WithSecret(os.Getenv(envSecret)),
		maquis.WithSeeds(strings.Fields(os.Getenv(envSeed))...), maquis.WithKind(counterKind, counterProps()), maquis.WithLogger(quietLogger()))
	if err != nil {
		return err
	}
	gone := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, in)
		close(gone)
	}()
	select {
	case <-gone:
	case <-ctx.Done():
	case <-d.Done():
		return fmt.Errorf("the node failed: %w", d.Err())
	}
	stop, cancel := context.WithTimeout(context.Background(), leaveTime)
	defer cancel()
	return d.Stop(stop)
}
