package discovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// etcdTTL is how long etcd keeps the key of a node that died: 30 s, our
// choice. A live one renews its lease three times as often.
const etcdTTL = 30 * time.Second

// Etcd finds nodes by keys with a common prefix in etcd (version 3.4 or
// later, over its JSON gateway): it reads all and watches; once calm it reads
// about every ten minutes. The value of a key is an address, or a JSON array
// of candidates as in File. With Register it keeps a key of this node under a
// lease while Run runs, and needs WithSelf; a lease that was lost is taken
// anew.
type Etcd struct {
	Endpoints []string // URLs, tried in turn: http://127.0.0.1:2379
	// Prefix of the keys: "/maquis/". The cluster's name and a slash follow
	// where WithSelf tells it, then the node's.
	Prefix string
	// Username and Password, or PasswordFile, where etcd wants them.
	Username, Password, PasswordFile string
	CAFile                           string // authorities, in PEM; default: the system's
	Register                         bool
	Port                             int // of addresses that name none: DefaultPort

	dial dialFunc // of tests
}

// Validate reports every option that cannot be.
func (e Etcd) Validate() error {
	errs := []error{checkPort("etcd", e.Port)}
	for _, ep := range e.Endpoints {
		if u, err := url.Parse(ep); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			errs = append(errs, fmt.Errorf("discovery: etcd: endpoint %q is no URL; use https://host:2379", ep))
		}
	}
	if e.Username == "" && e.Password+e.PasswordFile != "" || e.Password != "" && e.PasswordFile != "" {
		errs = append(errs, errors.New("discovery: etcd: give Username and one of Password and PasswordFile, or none of them"))
	}
	return errors.Join(errs...)
}

func (e Etcd) endpoints() []string {
	if len(e.Endpoints) == 0 {
		return []string{"http://127.0.0.1:2379"}
	}
	return e.Endpoints
}

func (e Etcd) String() string {
	return "etcd " + strings.Join(e.endpoints(), ",") + " " + cmp.Or(e.Prefix, "/maquis/")
}

// Run implements Strategy.
func (e Etcd) Run(ctx context.Context, emit func(Snapshot)) error {
	if err := e.Validate(); err != nil {
		return err
	}
	client, err := newClient("etcd", e.CAFile, false, e.dial)
	if err != nil {
		return err
	}
	defer client.close()
	r := &etcdRun{Etcd: e, client: client, emit: serial(emit), prefix: cmp.Or(e.Prefix, "/maquis/")}
	self, known := SelfOf(ctx)
	if known && self.Cluster != "" {
		r.prefix += self.Cluster + "/"
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	if e.Register && !self.Quiet {
		if _, err := announced(ctx, "etcd"); err != nil {
			return err
		}
		wg.Go(func() { r.announce(ctx, self) })
	}
	wait := newBackoff(time.Second, time.Minute)
	for {
		calm, changed := PaceOf(ctx).Calm()
		err := r.read(ctx)
		if err == nil {
			r.tell()
			if !calm {
				err = r.watch(ctx, changed, &wait)
			}
		}
		if ctx.Err() != nil {
			return nil
		}
		next := jitter(calmInterval)
		if err != nil {
			r.emit(failed(err))
			next = wait.next()
		} else if calm {
			wait.reset()
		} else if calm, changed = PaceOf(ctx).Calm(); !calm { // compacted, or hurried again
			next = jitter(100 * time.Millisecond)
		}
		if !pause(ctx, next, changed, calm) {
			return nil
		}
	}
}

type etcdRun struct {
	Etcd
	client *client
	emit   func(Snapshot)
	prefix string

	mu    sync.Mutex
	first int    // the endpoint that answered last
	token string // of authentication

	keys     map[string][]byte
	revision int64
}

// ask posts to the endpoint that answered last, or the next that does.
func (r *etcdRun) ask(ctx context.Context, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return r.each(ctx, func(base string, header http.Header) error {
		_, err := r.client.getJSON(ctx, http.MethodPost, base+path, header, in, out)
		return err
	})
}

// each calls f for the endpoints in turn until one answers, be it with a
// refusal; one that does not know us is asked again with a new token.
func (r *etcdRun) each(ctx context.Context, f func(base string, header http.Header) error) error {
	list := r.endpoints()
	r.mu.Lock()
	first := r.first
	r.mu.Unlock()
	var errs []error
	for i := range list {
		at := (first + i) % len(list)
		base := strings.TrimSuffix(list[at], "/")
		err := r.known(ctx, base, f)
		if code := codeOf(err); err == nil || code >= 400 && code < 500 {
			r.mu.Lock()
			r.first = at
			r.mu.Unlock()
			return err
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}

func (r *etcdRun) known(ctx context.Context, base string, f func(string, http.Header) error) error {
	r.mu.Lock()
	token := r.token
	r.mu.Unlock()
	for again := false; ; again = true {
		if r.Username != "" && (token == "" || again) {
			var err error
			if token, err = r.authenticate(ctx, base); err != nil {
				return err
			}
		}
		header := http.Header{}
		if token != "" {
			header.Set("Authorization", token)
		}
		err := f(base, header)
		if code := codeOf(err); code != 401 && code != 403 || again || r.Username == "" {
			return err
		}
	}
}

func (r *etcdRun) authenticate(ctx context.Context, base string) (string, error) {
	password := r.Password
	if r.PasswordFile != "" {
		var err error
		if password, err = secretFile(r.PasswordFile); err != nil {
			return "", fmt.Errorf("discovery: etcd: %w", err)
		}
	}
	var out struct{ Token string }
	if _, err := r.client.getJSON(ctx, http.MethodPost, base+"/v3/auth/authenticate", nil, map[string]string{"name": r.Username, "password": password}, &out); err != nil {
		return "", err
	}
	r.mu.Lock()
	r.token = out.Token
	r.mu.Unlock()
	return out.Token, nil
}

// etcdKV and the rest are the gateway's JSON: bytes in base64, as Go has them,
// and 64-bit numbers as strings.
type etcdKV struct {
	Key   []byte `json:"key"`
	Value []byte `json:"value"`
}

type etcdHeader struct {
	Revision int64 `json:"revision,string"`
}

// limits are the first key of the prefix and the first behind it.
func (r *etcdRun) limits() (first, behind []byte) {
	behind = []byte(r.prefix)
	for i := len(behind) - 1; i >= 0; i-- {
		if behind[i] < 0xff {
			behind[i]++
			return []byte(r.prefix), behind[:i+1]
		}
	}
	return []byte(r.prefix), []byte{0}
}

func (r *etcdRun) read(ctx context.Context) error {
	first, behind := r.limits()
	var out struct {
		Header etcdHeader `json:"header"`
		KVs    []etcdKV   `json:"kvs"`
		More   bool       `json:"more"`
	}
	err := r.ask(ctx, "/v3/kv/range", map[string]any{"key": first, "range_end": behind, "limit": MaxCandidates}, &out)
	if err != nil {
		return err
	}
	if out.More {
		return fmt.Errorf("discovery: etcd: more than %d keys begin with %s", MaxCandidates, r.prefix)
	}
	r.keys, r.revision = map[string][]byte{}, out.Header.Revision
	for _, kv := range out.KVs {
		r.keys[string(kv.Key)] = kv.Value
	}
	return nil
}

// tell emits what the keys hold.
func (r *etcdRun) tell() { r.emit(etcdSnapshot(r.keys, r.Port)) }

func etcdSnapshot(keys map[string][]byte, port int) Snapshot {
	var all []Candidate
	var errs []error
	for _, key := range sortedKeys(keys) {
		list, err := parseList(keys[key], port)
		if err != nil && len(errs) < tooManyErrors {
			errs = append(errs, fmt.Errorf("discovery: etcd: key %q: %w", key, err))
		}
		all = append(all, list...)
	}
	s := whole(all)
	if len(errs) > 0 {
		s.Partial, s.Err = true, errors.Join(append(errs, s.Err)...)
	}
	return s
}

// etcdWatched is a line of a watch.
type etcdWatched struct {
	Result struct {
		Header   etcdHeader `json:"header"`
		Canceled bool       `json:"canceled"`
		Compact  int64      `json:"compact_revision,string"`
		Reason   string     `json:"cancel_reason"`
		Events   []struct {
			Type string `json:"type"` // "DELETE", or absent
			KV   etcdKV `json:"kv"`
		} `json:"events"`
	} `json:"result"`
	Error *struct {
		Message string `json:"message"`
	} `json:"error"`
}

// apply takes a line; an end without an error means that a read is needed.
func (r *etcdRun) apply(w etcdWatched) (news, end bool, err error) {
	if w.Error != nil {
		return false, true, fmt.Errorf("discovery: etcd: the watch: %s", w.Error.Message)
	}
	if w.Result.Canceled {
		if w.Result.Compact > 0 {
			return false, true, nil
		}
		return false, true, fmt.Errorf("discovery: etcd: the watch was canceled: %s", w.Result.Reason)
	}
	for _, ev := range w.Result.Events {
		if ev.Type == "DELETE" {
			delete(r.keys, string(ev.KV.Key))
		} else if len(r.keys) < 2*MaxCandidates {
			r.keys[string(ev.KV.Key)] = ev.KV.Value
		}
	}
	if w.Result.Header.Revision > r.revision {
		r.revision = w.Result.Header.Revision
	}
	return len(w.Result.Events) > 0, false, nil
}
