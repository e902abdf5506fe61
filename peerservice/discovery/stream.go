package discovery

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// Bounds of streams of changes. Our choice.
const (
	streamMax    = 8 << 20                // bytes of a value
	streamGather = 100 * time.Millisecond // changes that come together are told together
	streamShort  = 5                      // streams in a row that ended at once, before all is read anew
)

// streamed is a value of a stream of JSON values, or what ended it.
type streamed[T any] struct {
	value T
	err   error
}

// readStream decodes body into values until it ends, breaks off or holds what
// is no value; the last one has an err. Who stops reading earlier ends ctx,
// reads on until values is closed, and then closes body.
func readStream[T any](ctx context.Context, body io.Reader) (values <-chan streamed[T]) {
	out := make(chan streamed[T])
	go func() {
		defer close(out)
		limited := &io.LimitedReader{R: body}
		dec := json.NewDecoder(limited)
		for {
			var v streamed[T]
			limited.N = streamMax
			v.err = dec.Decode(&v.value)
			select {
			case out <- v:
			case <-ctx.Done():
				return
			}
			if v.err != nil {
				return
			}
		}
	}()
	return out
}

// reopen runs stream, which follows changes from where it was left, again each
// time that it ends, until it is done or fails. A stream that ended at once is
// opened again after a pause; after five of them it fails.
func reopen(ctx context.Context, name string, wait *backoff, stream func() (done bool, err error)) error {
	for short := 0; ; {
		began := time.Now()
		if done, err := stream(); done || err != nil || ctx.Err() != nil {
			return err
		}
		if time.Since(began) > 10*time.Second {
			short = 0
			wait.reset()
			continue
		}
		if short++; short >= streamShort {
			return fmt.Errorf("discovery: %s: %d watches in a row ended at once", name, short)
		}
		if !sleep(ctx, wait.next()) {
			return nil
		}
	}
}
