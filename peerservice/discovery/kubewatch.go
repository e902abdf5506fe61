package discovery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// Bounds of the conversation with the API server. Our choice.
const (
	kubePage     = 500 // objects in an answer
	kubeMaxPages = 64  // answers in a list
)

// kubeRun is one run: the objects as of a version.
type kubeRun struct {
	Kubernetes
	emit     func(Snapshot)
	interval time.Duration
	noWatch  bool
	client   *client
	listed   bool

	objects map[string][]Candidate // by name
	notes   map[string]error       // what is wrong with objects, by name
	version string                 // of the list, or of the last event: where to watch on
}

func (r *kubeRun) close() {
	if r.client != nil {
		r.client.close()
	}
}

// connect makes a client anew for each list: the authority may have changed.
func (r *kubeRun) connect() error {
	ca := filepath.Join(r.dir(), "ca.crt")
	if r.InsecureSkipVerify {
		ca = ""
	}
	c, err := newClient("kubernetes", ca, r.InsecureSkipVerify, r.dial)
	if err != nil {
		return err
	}
	r.close()
	r.client = c
	return nil
}

// request sends one GET, with the token as it is now.
func (r *kubeRun) request(ctx context.Context, query url.Values) (*http.Response, error) {
	base, err := r.base()
	if err != nil {
		return nil, err
	}
	if s := r.selector(); s != "" {
		query.Set("labelSelector", s)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"?"+query.Encode(), nil)
	if err != nil {
		return nil, fmt.Errorf("discovery: kubernetes: %w", err)
	}
	token, err := secretFile(filepath.Join(r.dir(), "token"))
	if err != nil && !r.InsecureSkipVerify {
		return nil, fmt.Errorf("discovery: kubernetes: the service account's token: %w; is automountServiceAccountToken off?", err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "maquis-discovery")
	return r.client.do(req)
}

// kubeList is an answer to a list.
type kubeList struct {
	Metadata struct {
		ResourceVersion string `json:"resourceVersion"`
		Continue        string `json:"continue"`
	} `json:"metadata"`
	Items []kubeObject `json:"items"`
}

// list reads all objects, page by page.
func (r *kubeRun) list(ctx context.Context) error {
	if err := r.connect(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 4*askTimeout)
	defer cancel()
	objects, notes := map[string][]Candidate{}, map[string]error{}
	query := url.Values{"limit": {strconv.Itoa(kubePage)}}
	if r.ListFromCache || r.listed {
		query.Set("resourceVersion", "0")
	}
	var page kubeList
	for n := 0; ; n++ {
		if n == kubeMaxPages {
			return fmt.Errorf("discovery: kubernetes: more than %d objects match; use a narrower selector", kubePage*kubeMaxPages)
		}
		res, err := r.request(ctx, query)
		if err != nil {
			return err
		}
		page = kubeList{}
		data, err := readAll(res.Body, maxBody)
		res.Body.Close()
		if err == nil {
			err = json.Unmarshal(data, &page)
		}
		if err != nil {
			return fmt.Errorf("discovery: kubernetes: the list: %w", err)
		}
		for _, o := range page.Items {
			r.put(o, objects, notes)
		}
		if page.Metadata.Continue == "" {
			break
		}
		query.Set("continue", page.Metadata.Continue)
		query.Del("resourceVersion")
	}
	r.objects, r.notes, r.version, r.listed = objects, notes, page.Metadata.ResourceVersion, true
	return nil
}

func (r *kubeRun) put(o kubeObject, objects map[string][]Candidate, notes map[string]error) {
	list, err := r.candidates(o)
	objects[o.Metadata.Name] = list
	delete(notes, o.Metadata.Name)
	if err != nil {
		notes[o.Metadata.Name] = err
	}
}

// snapshot is what is known now.
func (r *kubeRun) snapshot() Snapshot {
	var names []string
	for name := range r.objects {
		names = append(names, name)
	}
	slices.Sort(names)
	var all []Candidate
	var errs []error
	for _, name := range names {
		all = append(all, r.objects[name]...)
		if err := r.notes[name]; err != nil && len(errs) < tooManyErrors {
			errs = append(errs, err)
		}
	}
	s := whole(all)
	if len(errs) > 0 {
		s.Partial, s.Err = true, errors.Join(append(errs, s.Err)...)
	}
	return s
}

// kubeEvent is one line of a watch.
type kubeEvent struct {
	Type   string     `json:"type"`
	Object kubeObject `json:"object"`
}

// watch follows the objects from the version of the list on. It returns nil
// when the consumer is calm or may not watch, and an error when a list is
// needed.
func (r *kubeRun) watch(ctx context.Context, changed <-chan struct{}, wait *backoff) error {
	return reopen(ctx, "kubernetes", wait, func() (bool, error) {
		calm, err := r.stream(ctx, changed)
		if code := codeOf(err); code == 403 || code == 405 {
			r.noWatch = true
			s := r.snapshot()
			s.Partial, s.Err = true, fmt.Errorf("%w; it is asked every %v instead", r.explain(err), r.interval)
			r.emit(s)
			return true, nil
		}
		return calm, err
	})
}

// stream reads one watch to its end.
func (r *kubeRun) stream(ctx context.Context, changed <-chan struct{}) (calm bool, err error) {
	seconds := 300 + rand.IntN(300) // the API server's own choice is thirty to sixty minutes
	ctx, cancel := context.WithTimeout(ctx, time.Duration(seconds+30)*time.Second)
	res, err := r.request(ctx, url.Values{
		"watch": {"true"}, "allowWatchBookmarks": {"true"},
		"resourceVersion": {r.version}, "timeoutSeconds": {strconv.Itoa(seconds)},
	})
	if err != nil {
		cancel()
		return false, err
	}
	events := readStream[kubeEvent](ctx, res.Body)
	defer func() {
		cancel()
		for range events { // until the reader is gone
		}
		res.Body.Close()
	}()
	var gather <-chan time.Time
	for {
		select {
		case <-changed:
			return true, nil
		case <-gather:
			gather = nil
			r.emit(r.snapshot())
		case ev, more := <-events:
			if !more || ev.err != nil {
				if gather != nil {
					r.emit(r.snapshot())
				}
				return false, nil
			}
			news, err := r.onEvent(ev.value)
			if err != nil {
				return false, err
			}
			if news && gather == nil {
				gather = time.After(streamGather)
			}
		}
	}
}

// onEvent applies an event; an error means that a list is needed.
func (r *kubeRun) onEvent(ev kubeEvent) (news bool, err error) {
	switch ev.Type {
	case "ERROR":
		return false, &statusError{name: "kubernetes", url: "the watch", code: ev.Object.Code, body: ev.Object.Message}
	case "ADDED", "MODIFIED":
		r.put(ev.Object, r.objects, r.notes)
		news = true
	case "DELETED":
		delete(r.objects, ev.Object.Metadata.Name)
		delete(r.notes, ev.Object.Metadata.Name)
		news = true
	}
	if v := ev.Object.Metadata.ResourceVersion; v != "" { // a bookmark has only that
		r.version = v
	}
	return news, nil
}

// explain adds what an operator can do.
func (r *kubeRun) explain(err error) error {
	var s *statusError
	if !errors.As(err, &s) {
		return err
	}
	switch s.code {
	case 401:
		s.remedy = "the token is not accepted: is it the one of this cluster?"
	case 403:
		s.remedy = fmt.Sprintf("give the service account a role that may get, list and watch %s", r.resource())
	case 404:
		s.remedy = "is the namespace right?"
	}
	return err
}
