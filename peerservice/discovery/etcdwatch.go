package discovery

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// etcdQuiet is after which time without a word a watch is opened anew: etcd
// tells its progress about every ten minutes.
const etcdQuiet = 25 * time.Minute

// watch follows the keys until the consumer is calm or a read is needed. A
// stream that breaks off is opened again where it ended.
func (r *etcdRun) watch(ctx context.Context, changed <-chan struct{}, wait *backoff) error {
	return reopen(ctx, "etcd", wait, func() (bool, error) { return r.stream(ctx, changed) })
}

// stream reads one watch to its end; done tells that it is not to be opened
// again as it was.
func (r *etcdRun) stream(ctx context.Context, changed <-chan struct{}) (done bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	body, err := r.open(ctx)
	if err != nil {
		return true, err
	}
	lines := readStream[etcdWatched](ctx, body)
	defer func() {
		cancel()
		for range lines { // until the reader is gone
		}
		body.Close()
	}()
	quiet := time.NewTimer(etcdQuiet)
	defer quiet.Stop()
	var gather <-chan time.Time
	for {
		select {
		case <-changed:
			return true, nil
		case <-quiet.C:
			return false, nil
		case <-gather:
			gather = nil
			r.tell()
		case l, more := <-lines:
			if !more || l.err != nil {
				if gather != nil {
					r.tell()
				}
				return false, nil
			}
			quiet.Reset(etcdQuiet)
			news, end, err := r.apply(l.value)
			if end {
				return true, err
			}
			if news && gather == nil {
				gather = time.After(streamGather)
			}
		}
	}
}

// open begins a watch behind the revision read.
func (r *etcdRun) open(ctx context.Context) (body io.ReadCloser, err error) {
	first, behind := r.limits()
	in, err := json.Marshal(map[string]any{"create_request": map[string]any{
		"key": first, "range_end": behind, "start_revision": strconv.FormatInt(r.revision+1, 10), "progress_notify": true}})
	if err != nil {
		return nil, err
	}
	err = r.each(ctx, func(base string, header http.Header) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/v3/watch", bytes.NewReader(in))
		if err != nil {
			return err
		}
		req.Header = header
		req.Header.Set("Content-Type", "application/json")
		res, err := r.client.do(req)
		if err == nil {
			body = res.Body
		}
		return err
	})
	return body, err
}

// announce keeps this node's key under a lease until ctx ends, and revokes
// that then.
func (r *etcdRun) announce(ctx context.Context, self Self) {
	var entries []jsonCandidate
	for _, a := range self.Addrs {
		entries = append(entries, jsonCandidate{Addr: a, Name: self.Name, Zone: self.Zone})
	}
	value, _ := json.Marshal(entries)                                             // strings and booleans
	key := []byte(r.prefix + self.Name + "-" + strings.ToLower(rand.Text()[:12])) // each run has its own
	lease := ""
	defer func() {
		if lease != "" {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			_ = r.ask(ctx, "/v3/lease/revoke", map[string]string{"ID": lease}, nil)
		}
	}()
	failing := false
	for {
		var err error
		if lease != "" {
			var lost bool
			if lost, err = r.renew(ctx, lease); lost {
				lease = ""
			}
		}
		if lease == "" && ctx.Err() == nil {
			lease, err = r.grant(ctx, key, value)
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil && !failing {
			r.emit(failed(fmt.Errorf("discovery: etcd: this node is not announced: %w", err)))
		}
		failing = err != nil
		next := etcdTTL / 3
		if err != nil {
			next = etcdTTL / 10
		}
		if !sleep(ctx, jitter(next)) {
			return
		}
	}
}

// grant takes a lease and puts the key under it.
func (r *etcdRun) grant(ctx context.Context, key, value []byte) (lease string, err error) {
	var out struct{ ID string }
	if err := r.ask(ctx, "/v3/lease/grant", map[string]any{"TTL": int(etcdTTL.Seconds())}, &out); err != nil {
		return "", err
	}
	if out.ID == "" {
		return "", errors.New("a lease without an ID was granted")
	}
	if err := r.ask(ctx, "/v3/kv/put", map[string]any{"key": key, "value": value, "lease": out.ID}, nil); err != nil {
		return "", err // the lease ends by itself
	}
	return out.ID, nil
}

// renew keeps a lease; lost tells that it had ended.
func (r *etcdRun) renew(ctx context.Context, lease string) (lost bool, err error) {
	var out struct {
		Result struct {
			TTL int64 `json:"TTL,string"`
		} `json:"result"`
	}
	if err := r.ask(ctx, "/v3/lease/keepalive", map[string]string{"ID": lease}, &out); err != nil {
		return codeOf(err) == 404, err
	}
	return out.Result.TTL <= 0, nil
}
