package main

import (
	"flag"
	"fmt"
	"io"
	"os"

	maquis "github.com/maquis-go/maquis/actors"
	"github.com/maquis-go/maquis/compat/libcluster"
	"github.com/maquis-go/maquis/peerservice/discovery"
)

// maxMigrated bounds the file, in bytes.
const maxMigrated = 1 << 20

// runMigrate prints a libcluster configuration as ours, and on errw what it
// could not keep.
func runMigrate(args []string, in io.Reader, out, errw io.Writer) error {
	flags := flag.NewFlagSet("migrate", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	native := flags.Bool("native", false, "")
	if err := flags.Parse(args); err != nil {
		return usageError{err}
	}
	if flags.NArg() != 1 {
		return badUsage("config migrate: name one file with libcluster's configuration, as in config/runtime.exs, or - for standard input")
	}
	name := flags.Arg(0)
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return usageError{err}
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	config, err := io.ReadAll(io.LimitReader(in, maxMigrated+1))
	if err != nil {
		return err
	}
	if len(config) > maxMigrated {
		return badUsage("config migrate: %s has more than %d bytes; give the file that holds libcluster's topologies", name, maxMigrated)
	}
	migrate := libcluster.Migrate
	if *native {
		migrate = nativeDiscovery
	}
	ours, notes, err := migrate(config)
	if err != nil {
		return inputError{fmt.Errorf("config migrate: %s:\n%w", name, err)}
	}
	for _, n := range notes {
		fmt.Fprintf(errw, "%s: %s\n", name, n)
	}
	_, err = out.Write(ours)
	return err
}

// nativeDiscovery writes a libcluster configuration as join.discovery. Values that
// are computed when Elixir starts are an error.
func nativeDiscovery(text []byte) ([]byte, []libcluster.Note, error) {
	topologies, notes, err := libcluster.Parse(text)
	if err != nil {
		return nil, notes, err
	}
	var list []discovery.Strategy
	for _, t := range topologies {
		list = append(list, t.Strategy)
	}
	c, err := maquis.DiscoveryConfig(list...)
	if err != nil {
		return nil, notes, err
	}
	return []byte(c.YAML(false)), notes, nil
}
