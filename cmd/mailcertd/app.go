package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"mailcertd/internal/config"
	"mailcertd/internal/durable"
	"mailcertd/internal/keeper"
	"mailcertd/internal/page"
	"mailcertd/internal/rcd"
)

// The exit statuses, as the manual has them.
const (
	exitFine  = 0 // fine, warnings included
	exitTodo  = 1 // something is to be done, or failed
	exitUsage = 2 // wrong usage or configuration
)

// app is one run of the program: its flags and where it talks.
type app struct {
	console

	configPath string
	root       string
	logLevel   string
	dryRun     bool
	renewing   bool // the verb is renew: it may wait for a person or another host
	json       bool
	brief      bool          // keeper.Options.Brief
	daemon     bool          // it stays: what rc.conf says is asked again
	notifyFor  time.Duration // for each command of notify:; zero: the keeper's choice

	rootSet func() bool // --root was said: "" is no system then
	disk    *durable.Disk
}

func newApp(in io.Reader, out, errw io.Writer) *app {
	return &app{console: console{in: in, out: &output{Writer: out}, err: errw}, disk: newDisk()}
}

// errTodo says that a verb has told everything itself and exits with 1.
var errTodo = errors.New("something has to be done")

func (a *app) execute(ctx context.Context, args []string) int {
	root := a.command()
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	err := root.ExecuteContext(ctx)
	var usage usageError
	if a.out.failed != nil && (err == nil || errors.Is(err, errTodo)) {
		err = fmt.Errorf("standard output: %w", a.out.failed)
	}
	switch {
	case err == nil:
		return exitFine
	case errors.Is(err, errTodo):
		return exitTodo
	case errors.As(err, &usage):
		fmt.Fprintln(a.err, "mailcertd:", page.CleanLines(err.Error()))
		return exitUsage
	}
	fmt.Fprintln(a.err, "mailcertd:", page.CleanLines(err.Error()))
	if errors.Is(err, os.ErrPermission) && os.Geteuid() != 0 {
		fmt.Fprintln(a.err, "hint: run this as root, or try it in a directory of your own with --root DIR")
	}
	return exitTodo
}

func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "mailcertd",
		Short: "keeps sendmail's certificates complete, renewed and served",
		Long: `mailcertd maintains sendmail's TLS files: it completes /etc/mail/certs before
sendmail starts, renews every certificate before it expires, and verifies that
sendmail serves the new one.

  mailcertd ensure     complete everything, once
  mailcertd status     show the present state and the next steps
  mailcertd check      report everything that is wrong, and what ensure would do
  mailcertd help WORD  explain a command, or a word in [brackets]

To try it without root, in your own directory: mailcertd --root ./demo ensure`,
		SilenceErrors: true, SilenceUsage: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			text := fmt.Sprintf("unknown command %q", args[0])
			if s := cmd.SuggestionsFor(args[0]); len(s) > 0 {
				text += fmt.Sprintf("; did you mean %q?", s[0])
			}
			return usageError{errors.New(text + "; see `mailcertd help`")}
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			fmt.Fprint(a.out, cmd.Long, "\n\n`mailcertd help` lists all commands; the manual is mailcertd(8).\n")
			return nil
		},
	}
	root.SuggestionsMinimumDistance = 2
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%s%s; see `%s --help`", flagError(err), nearestFlag(cmd, err), cmd.CommandPath())}
	})
	f := root.PersistentFlags()
	a.rootSet = func() bool { return f.Changed("root") }
	f.StringVar(&a.configPath, "config", "", "configuration `file` (default "+defaultConfig+" below --root)")
	f.StringVar(&a.root, "root", "", "use `dir` as the root of every path, as make's DESTDIR does")
	f.StringVar(&a.logLevel, "log-level", "",
		"trace, debug, info, warn or error (default: log.level of the configuration)")
	root.AddCommand(a.ensureCommand(), a.runCommand(), a.renewCommand(), a.checkCommand(), a.statusCommand(),
		a.configCommand(), a.caCommand(),
		a.issueCommand(), a.requestCommand(), a.signCommand(), a.installCommand(), a.listCommand(), a.revokeCommand(),
		a.restoreCommand(), a.purgeCommand(), a.dhparamCommand(), a.versionCommand())
	root.SetHelpCommand(a.helpCommand())
	completion(root)
	foldUsage(root)
	return root
}

func (a *app) dryRunFlag(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().BoolVar(&a.dryRun, "dry-run", false, "show what would be done, and change nothing")
	return cmd
}

func (a *app) jsonFlag(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().BoolVar(&a.json, "json", false, "print JSON")
	return cmd
}

// load reads the configuration, and does nothing else: every error in it ends with exit status 2.
func (a *app) load() (config.Config, error) {
	root := a.root
	if a.root != "" || a.rootSet() {
		abs, err := absolute(a.root)
		if err != nil {
			return config.Config{}, usageError{err}
		}
		root = abs
	}
	if a.logLevel != "" && hclog.LevelFromString(a.logLevel) == hclog.NoLevel {
		return config.Config{},
			usageError{fmt.Errorf("--log-level %q: must be trace, debug, info, warn or error", a.logLevel)}
	}
	path, given := a.configPath, a.configPath != ""
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
	if a.logLevel != "" {
		cfg.Log.Level = a.logLevel
	}
	return cfg, nil
}

// keeper wires the core to this machine.
func (a *app) keeper(cfg config.Config, log func(keeper.Event)) *keeper.Keeper {
	a.sayNotRoot(cfg.Root)
	return keeper.New(keeper.Options{
		Config: cfg, Disk: a.disk, Now: wallClock, Host: hostNames(cfg.Root, a.daemon),
		Build: buildTime(), UID: uint32(os.Geteuid()), Log: log, Progress: a.progress, NotifyFor: a.notifyFor,
		Brief: a.brief,
	})
}

func (c *console) terminal() bool {
	f, ok := c.err.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// quiet logs what a verb for people does: warnings and failures only, unless a
// log level was asked for. What was done is printed by the verb itself.
func (a *app) quiet() func(keeper.Event) {
	level := hclog.NoLevel
	if a.logLevel != "" {
		level = hclog.LevelFromString(a.logLevel)
	}
	if level == hclog.NoLevel {
		return func(keeper.Event) {}
	}
	l := hclog.New(&hclog.LoggerOptions{Name: "mailcertd", Level: level, Output: a.err})
	return logTo(l)
}

func logTo(l hclog.Logger) func(keeper.Event) {
	return func(e keeper.Event) {
		switch e.Level {
		case keeper.Debug:
			l.Debug(e.Msg, e.KV...)
		case keeper.Info:
			l.Info(e.Msg, e.KV...)
		case keeper.Warn:
			l.Warn(e.Msg, e.KV...)
		default:
			l.Error(e.Msg, e.KV...)
		}
	}
}

// sink is the log of the configuration: stderr in the foreground, syslog under rc.d.
func (a *app) sink(cfg config.Config) hclog.Logger {
	return rcd.NewLogger(rcd.LogOptions{Level: cfg.Log.Level, Target: cfg.Log.Target, Facility: cfg.Log.Facility,
		Stderr: a.err, Terminal: a.terminal()})
}

func absolute(dir string) (string, error) {
	if strings.TrimSpace(dir) == "" {
		return "", errors.New("--root is empty: it must be a directory")
	}
	return absPath(dir)
}
