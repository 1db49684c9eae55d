package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mailcertd/internal/config"
	"mailcertd/internal/durable"
)

// globalFlags are the options of every command. They say which configuration is read and what is logged.
type globalFlags struct {
	configPath string
	root       string
	logLevel   string
	rootSet    func() bool // says whether --root was given, even as ""
}

// register adds the options to f.
func (g *globalFlags) register(f *pflag.FlagSet) {
	g.rootSet = func() bool { return f.Changed("root") }
	f.StringVar(&g.configPath, "config", "", "configuration `file` (default "+defaultConfig+" below --root)")
	f.StringVar(&g.root, "root", "", "use `dir` as the root of every path, as make's DESTDIR does")
	f.StringVar(&g.logLevel, "log-level", "",
		"trace, debug, info, warn or error (default: log.level of the configuration)")
}

// load reads the configuration and has no other effect. Every error in the configuration ends with exit status 2.
func (g *globalFlags) load() (config.Config, error) {
	root := g.root
	if g.root != "" || g.rootSet() {
		abs, err := absolute(g.root)
		if err != nil {
			return config.Config{}, usageError{err}
		}
		root = abs
	}
	if g.logLevel != "" && hclog.LevelFromString(g.logLevel) == hclog.NoLevel {
		return config.Config{},
			usageError{fmt.Errorf("--log-level %q: must be trace, debug, info, warn or error", g.logLevel)}
	}
	path, given := g.configPath, g.configPath != ""
	if !given {
		path = root + defaultConfig
	}
	if root != "" && !given {
		inside, err := durable.Inside(root, path)
		if err != nil {
			return config.Config{}, usageError{err}
		}
		path = inside
	}
	cfg, err := config.Load(path, root)
	if err != nil {
		return cfg, usageError{err}
	}
	if root != "" {
		if err := cfg.Follow(func(p string) (string, error) { return durable.Inside(root, p) }); err != nil {
			return cfg, usageError{err}
		}
	}
	if given && cfg.Missing {
		return cfg, usageError{fmt.Errorf("%s: no such file", path)}
	}
	if g.logLevel != "" {
		cfg.Log.Level = g.logLevel
	}
	return cfg, nil
}

func absolute(dir string) (string, error) {
	if strings.TrimSpace(dir) == "" {
		return "", errors.New("--root is empty: it must be a directory")
	}
	return absPath(dir)
}

// dryRunFlag adds --dry-run to a command that changes something.
func dryRunFlag(cmd *cobra.Command, dryRun *bool) *cobra.Command {
	cmd.Flags().BoolVar(dryRun, "dry-run", false, "show what would be done, and change nothing")
	return cmd
}

// jsonFlag adds --json to a command that prints a report.
func jsonFlag(cmd *cobra.Command, json *bool) *cobra.Command {
	cmd.Flags().BoolVar(json, "json", false, "print JSON")
	return cmd
}
