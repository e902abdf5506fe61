package main

import (
	"flag"
	"os"
	"strings"

	maquis "github.com/maquis-go/maquis/actors"
	"github.com/maquis-go/maquis/peerservice/discovery"
)

// nodeFlags say what a node is: those of demo node and of demo doctor.
type nodeFlags struct {
	file, name, listen, secretFile string
	seeds, discovery               list
}

func (f *nodeFlags) add(fs *flag.FlagSet) {
	fs.StringVar(&f.file, "config", "", "")
	fs.StringVar(&f.name, "name", "", "")
	fs.StringVar(&f.listen, "listen", "", "")
	fs.Var(&f.seeds, "seed", "")
	fs.Var(&f.discovery, "discovery", "")
	fs.StringVar(&f.secretFile, "secret-file", "", "")
}

// options are what the flags stand for, with the secret of the environment.
func (f *nodeFlags) options() ([]maquis.Option, error) {
	opts := []maquis.Option{maquis.WithLogger(quietLogger())}
	secret := os.Getenv(envNodeSecret)
	if f.file != "" { // which says all that flags do not, and the environment over both
		secret, opts = "", append(opts, maquis.WithConfigFile(f.file))
	}
	if f.secretFile != "" {
		b, err := os.ReadFile(f.secretFile)
		if err != nil {
			return nil, badUsage("--secret-file %q: %w", f.secretFile, err)
		}
		secret = strings.TrimSpace(string(b))
	}
	if f.file == "" && (secret == "" || f.listen == "" && len(f.seeds) == 0 && len(f.discovery) == 0) {
		opts = append(opts, maquis.WithProfile("dev"))
	}
	if secret != "" {
		opts = append(opts, maquis.WithSecret(secret))
	}
	if secret != "" && f.file == "" {
		opts = append(opts, maquis.WithFailurePreset("local"))
	}
	if f.name != "" {
		opts = append(opts, maquis.WithName(f.name))
	}
	if f.listen != "" {
		opts = append(opts, maquis.WithListen(f.listen))
	}
	if len(f.seeds) > 0 {
		opts = append(opts, maquis.WithSeeds(f.seeds...))
	}
	for _, text := range f.discovery {
		s, err := discovery.Named(text)
		if err != nil {
			return nil, badUsage("--discovery: %w", err)
		}
		opts = append(opts, maquis.WithDiscovery(s))
	}
	return opts, nil
}
