package discovery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// File reads candidates from a file and reads it again when it changes. A
// line is an address, with name=… and zone=… where wanted; '#' begins a
// comment. The file may also be a JSON array of addresses, or of objects with
// addr, name, zone and terminating. It need not exist from the start.
type File struct {
	Path   string
	Port   int           // of addresses that name none: DefaultPort
	Reload time.Duration // between looks at the file: 1 s
}

// Validate reports a missing path and times out of range.
func (f File) Validate() error {
	errs := []error{checkPort("file", f.Port), checkReload("file", f.Reload)}
	if f.Path == "" {
		errs = append(errs, errors.New("discovery: file: Path is empty; name the file"))
	}
	return errors.Join(errs...)
}

func checkReload(strategy string, d time.Duration) error {
	if d < 0 || d > 0 && d < 10*time.Millisecond {
		return fmt.Errorf("discovery: %s: Reload is %v; use at least 10ms, or 0 for 1s", strategy, d)
	}
	return nil
}

func (f File) String() string { return "file " + f.Path }

// Run implements Strategy.
func (f File) Run(ctx context.Context, emit func(Snapshot)) error {
	if err := f.Validate(); err != nil {
		return err
	}
	watchFile(ctx, emit, f.Reload, f.Port, func() (string, error) { return f.Path, nil })
	return nil
}

// HostsFile is File for a list of hosts as Erlang has it: where Path is empty,
// .hosts.erlang is looked for in the working directory, then in the user's
// home (https://www.erlang.org/doc/apps/kernel/net_adm.html#host_file/0). A
// line is a quoted atom and a full stop, or as in File.
type HostsFile struct {
	Path   string
	Port   int           // of hosts that name none: DefaultPort
	Reload time.Duration // between looks at the file: 1 s
}

// HostsFileName is the file that HostsFile looks for.
const HostsFileName = ".hosts.erlang"

// Validate reports times and ports out of range.
func (f HostsFile) Validate() error {
	return errors.Join(checkPort("hosts file", f.Port), checkReload("hosts file", f.Reload))
}

func (f HostsFile) String() string {
	if f.Path == "" {
		return "hosts file " + HostsFileName
	}
	return "hosts file " + f.Path
}

// Run implements Strategy.
func (f HostsFile) Run(ctx context.Context, emit func(Snapshot)) error {
	if err := f.Validate(); err != nil {
		return err
	}
	watchFile(ctx, emit, f.Reload, f.Port, f.find)
	return nil
}

func (f HostsFile) find() (string, error) {
	if f.Path != "" {
		return f.Path, nil
	}
	if _, err := os.Stat(HostsFileName); err == nil {
		return HostsFileName, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("discovery: hosts file: no %s in the working directory, and no home directory: %w", HostsFileName, err)
	}
	path := filepath.Join(home, HostsFileName)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("discovery: hosts file: no %s in the working directory or in %s; write one, a host a line", HostsFileName, home)
	}
	return path, nil
}

// watchFile emits the list in a file whenever it or the error in reading it
// has changed. The file is read whole each time: a look at its times alone can
// miss an edit. What has changed must read the same twice, lest a file that is
// being written is taken for a shorter one.
func watchFile(ctx context.Context, emit func(Snapshot), reload time.Duration, port int, find func() (string, error)) {
	if reload == 0 {
		reload = time.Second
	}
	var last []byte
	said := "" // the error last told
	for first := true; ; first = false {
		path, err := find()
		var data []byte
		if err == nil {
			data, err = readFile(path)
		}
		switch {
		case err != nil:
			if said != err.Error() {
				said = err.Error()
				emit(failed(err))
			}
		case first || said != "" || !bytes.Equal(data, last):
			if !first {
				if !sleep(ctx, reload/10) {
					return
				}
				if again, err := readFile(path); err != nil || !bytes.Equal(again, data) {
					continue
				}
			}
			last, said = data, ""
			emit(listed(path, data, port))
		}
		if !sleep(ctx, jitter(reload)) {
			return
		}
	}
}

func readFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("discovery: there is no file %s", path)
	} else if err != nil {
		return nil, fmt.Errorf("discovery: %w", err)
	}
	defer file.Close()
	data, err := readAll(file, maxListSize)
	if err != nil {
		return nil, fmt.Errorf("discovery: %s: %w", path, err)
	}
	return data, nil
}
