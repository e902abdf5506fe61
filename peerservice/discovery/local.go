package discovery

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// How often the directory is looked at, while hurried and while calm; and the
// bounds on what is read there. Our choice.
const (
	localHurried  = 200 * time.Millisecond
	localCalm     = 2 * time.Second
	maxLocal      = 1024
	maxLocalBytes = 4 << 10
)

// Local finds other nodes of the cluster that the same user runs on this host,
// without any configuration. Each node keeps a record in a directory that only
// the user can enter, and holds a lock on it: the record of one that was
// killed has no lock and is removed by whoever sees it first. Where the system
// has no such locks, the record's time is renewed instead.
//
// It announces, and needs WithSelf.
type Local struct {
	// Dir holds the directories of all clusters: "maquis" in $XDG_RUNTIME_DIR,
	// or else maquis-UID in the directory for temporary files. One that exists
	// must belong to the user and be closed to others.
	Dir string
}

// Validate reports a directory that cannot be used.
func (l Local) Validate() error {
	_, err := l.open("")
	return err
}

func (l Local) String() string {
	if l.Dir == "" {
		return "local"
	}
	return "local " + l.Dir
}

// open makes the directory of a cluster, or only the one above, and checks
// that it is ours.
func (l Local) open(cluster string) (string, error) {
	dir := l.Dir
	switch run := os.Getenv("XDG_RUNTIME_DIR"); {
	case dir != "":
	case run != "":
		dir = filepath.Join(run, "maquis")
	default:
		dir = filepath.Join(os.TempDir(), fmt.Sprintf("maquis-%d", os.Getuid()))
	}
	if err := private(dir); err != nil {
		return "", err
	}
	if cluster == "" {
		return dir, nil
	}
	// Readable, and distinct whatever the name holds.
	sum := sha256.Sum256([]byte(cluster))
	readable := strings.Map(func(r rune) rune {
		if r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, cluster[:min(len(cluster), 40)])
	dir = filepath.Join(dir, readable+"-"+hex.EncodeToString(sum[:6]))
	return dir, private(dir)
}

// private makes a directory that only this user may use, or checks that it is
// one: somebody else's in a common place could be a trap.
func private(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return fmt.Errorf("discovery: local: %w", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("discovery: local: %w", err)
	}
	info, err := os.Lstat(dir)
	switch {
	case err != nil:
		return fmt.Errorf("discovery: local: %w", err)
	case !info.IsDir():
		return fmt.Errorf("discovery: local: %s is not a directory; remove it or set Local.Dir", dir)
	case !ownedByUs(info):
		return fmt.Errorf("discovery: local: %s belongs to another user; set Local.Dir to a directory of your own", dir)
	case !closed(info):
		return fmt.Errorf("discovery: local: %s is open to others (mode %o); chmod 700 it or set Local.Dir", dir, info.Mode().Perm())
	}
	return nil
}

// Run implements Strategy.
func (l Local) Run(ctx context.Context, emit func(Snapshot)) error {
	self, err := announced(ctx, "local")
	if err != nil {
		return err
	}
	dir, err := l.open(self.Cluster)
	if err != nil {
		return err
	}
	var own *record
	defer func() { own.remove() }()
	var last []Candidate
	said := ""
	for first := true; ; first = false {
		list, err := l.look(dir, self, &own)
		switch {
		case err != nil:
			if err.Error() != said {
				said = err.Error()
				emit(failed(fmt.Errorf("discovery: local: %w", err)))
			}
		case first || said != "" || !slices.Equal(list, last):
			last, said = list, ""
			emit(whole(list))
		}
		every := localHurried
		calm, changed := PaceOf(ctx).Calm()
		if calm {
			every = localCalm
		}
		if !pause(ctx, jitter(every), changed, calm) {
			return nil
		}
	}
}

// look sees to it that our record is there, and reads those of all. A cleaner
// of old files may have taken the record or the directory.
func (l Local) look(dir string, self Self, own **record) ([]Candidate, error) {
	if self.Quiet {
		return scan(dir)
	}
	if !(*own).there() {
		(*own).remove()
		*own = nil
		if _, err := l.open(self.Cluster); err != nil {
			return nil, err
		}
		r, err := newRecord(dir, self)
		if err != nil {
			return nil, err
		}
		*own = r
	}
	(*own).renew()
	return scan(dir)
}

const recordPrefix = "node-"

// record is this node's own file, and the lock on it.
type record struct {
	path string
	file *os.File
}

// newRecord writes a record and locks it. Another node may take the file for a
// stale one before the lock is held, and remove it: then there is another.
func newRecord(dir string, self Self) (*record, error) {
	var entries []jsonCandidate
	for _, a := range self.Addrs {
		entries = append(entries, jsonCandidate{Addr: a, Name: self.Name, Zone: self.Zone})
	}
	data, err := json.Marshal(entries)
	if err != nil {
		return nil, err
	}
	if len(data) > maxLocalBytes {
		return nil, fmt.Errorf("this node's record has %d bytes, more than %d; advertise fewer addresses", len(data), maxLocalBytes)
	}
	for range 10 {
		path := filepath.Join(dir, recordPrefix+rand.Text()[:16])
		file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
		if err != nil {
			return nil, err
		}
		r := &record{path, file}
		if err := lock(file, true); err != nil {
			r.remove()
			return nil, err
		}
		if !r.there() {
			file.Close()
			continue
		}
		if _, err := file.Write(data); err != nil {
			r.remove()
			return nil, err
		}
		return r, nil
	}
	return nil, fmt.Errorf("files written to %s vanish at once", dir)
}

// there reports whether the file is still what lies at its path.
func (r *record) there() bool { return r != nil && sameFile(r.file, r.path) }

func sameFile(f *os.File, path string) bool {
	ours, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(path)
	return err == nil && os.SameFile(ours, there)
}

func (r *record) renew() {
	if !haveLocks {
		now := time.Now()
		_ = os.Chtimes(r.path, now, now)
	}
}

func (r *record) remove() {
	if r == nil {
		return
	}
	if r.there() {
		_ = os.Remove(r.path)
	}
	r.file.Close() // and with it the lock
}

// scan reads the records of all that live, and removes those of the dead.
func scan(dir string) ([]Candidate, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	names, err := d.Readdirnames(maxLocal + 1)
	d.Close()
	if err != nil && len(names) == 0 {
		return nil, err
	}
	if len(names) > maxLocal {
		return nil, fmt.Errorf("%s holds more than %d files; are all of them nodes?", dir, maxLocal)
	}
	slices.Sort(names)
	var all []Candidate
	for _, name := range names {
		if strings.HasPrefix(name, recordPrefix) {
			all = append(all, alive(filepath.Join(dir, name))...)
		}
	}
	return all, nil
}

// alive reads a record, if its node lives. One that is being written is read
// at the next look.
func alive(path string) []Candidate {
	if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() {
		return nil // to open a pipe would block
	}
	file, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || !ownedByUs(info) {
		return nil
	}
	if stale(file, info) {
		if sameFile(file, path) {
			_ = os.Remove(path)
		}
		return nil
	}
	data, err := readAll(file, maxLocalBytes)
	if err != nil || len(data) == 0 {
		return nil
	}
	list, err := parseJSONList(data, 0)
	if err != nil {
		return nil
	}
	return list
}
