package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"mailcertd/internal/config"
	"mailcertd/internal/durable"
	"mailcertd/internal/keeper"
	"mailcertd/internal/page"
)

// The exit statuses, which the manual describes.
const (
	exitFine  = 0 // fine, warnings included
	exitTodo  = 1 // something has to be done, or something failed
	exitUsage = 2 // wrong usage or configuration
)

// app is one run of the program: its options, and the streams that it reads and prints to.
type app struct {
	console
	globalFlags

	dryRun   bool // --dry-run
	renewing bool // the verb is renew, which may wait for a person or for another host
	json     bool // --json

	brief     bool          // see keeper.Options.Brief
	overview  bool          // see keeper.Options.Overview
	daemon    bool          // the process goes on running, so rc.conf is asked again from time to time
	notifyFor time.Duration // the longest time for each command of `notify`; zero means the keeper's own limit

	disk *durable.Disk
}

func newApp(in io.Reader, out, errw io.Writer) *app {
	return &app{console: console{in: in, out: &output{Writer: out}, err: errw}, disk: newDisk()}
}

// errTodo says that a verb has printed everything itself, and that the exit status is 1.
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
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		fmt.Fprintln(a.err, "mailcertd: stopped by a signal before it was done;", afterSignal(err))
		return exitTodo
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
	a.globalFlags.register(root.PersistentFlags())
	root.AddCommand(a.ensureCommand(), a.runCommand(), a.renewCommand(), a.checkCommand(), a.statusCommand(),
		configCommand(a.out, &a.globalFlags), a.caCommand(),
		a.issueCommand(), a.requestCommand(), a.signCommand(), a.installCommand(), a.listCommand(), a.revokeCommand(),
		a.restoreCommand(), a.purgeCommand(), a.dhparamCommand(), versionCommand(a.out))
	root.SetHelpCommand(helpCommand(&a.console))
	completion(root)
	foldUsage(root)
	return root
}

// keeper connects the core to this machine.
func (a *app) keeper(cfg config.Config, log func(keeper.Event)) *keeper.Keeper {
	a.sayNotRoot(cfg.Root)
	return keeper.New(keeper.Options{
		Config: cfg, Disk: a.disk, Now: wallClock, OrderFor: orderFor, Host: hostNames(cfg.Root, a.daemon),
		Build: buildTime(), UID: uint32(os.Geteuid()), Log: log, Progress: a.progress, NotifyFor: a.notifyFor,
		Brief: a.brief, Overview: a.overview, Step: a.step(), DANE: true, Proxy: http.ProxyFromEnvironment,
	})
}
