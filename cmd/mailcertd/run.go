package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/durable"
	"mailcertd/internal/inbox"
	"mailcertd/internal/keeper"
	"mailcertd/internal/page"
	"mailcertd/internal/plan"
	"mailcertd/internal/rcd"
	"mailcertd/internal/state"
	"mailcertd/internal/watch"
)

// closePatience is how long the daemon waits at its end for its own ssh and commands. It is longer than what an order
// needs: a command that is deaf to SIGTERM, and then one that removes what the order has published, see acme.
const closePatience = 6 * time.Second

func (a *app) runCommand() *cobra.Command {
	return &cobra.Command{
		Use: "run", Args: noArgs,
		Short: "run the daemon: ensure, then watch, renew, repair, tell sendmail",
		Long: `Runs in the foreground; with rc.d, daemon(8) puts it into the background. SIGHUP
makes it read the configuration again, SIGTERM stops it.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// The handler is set before anything that takes time, because an early SIGHUP would end the process.
			signals := make(chan os.Signal, 4)
			signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM, os.Interrupt)
			cfg, err := a.load()
			if err != nil {
				if !a.terminal() { // under daemon(8) nobody reads standard error
					a.sink(config.Default(a.root)).Error("not started: the configuration has errors", "error",
						page.CleanLines(err.Error()))
				}
				return err
			}
			runtime.GOMAXPROCS(1) // the daemon is idle nearly all the time, and more threads would only wake each other
			log := a.sink(cfg)
			a.daemon = true
			k := a.keeper(cfg, logTo(log))
			lock, err := k.LockDaemon()
			if errors.Is(err, durable.ErrLocked) {
				return fmt.Errorf("another mailcertd daemon is running already: %w", err)
			} else if err != nil {
				return err
			}
			if lock != nil {
				defer lock.Unlock()
			}
			o := watchOptions(cfg)
			o.Told = func(err error) {
				if err != nil {
					log.Warn(
						"the kernel reports no file events: mailcertd checks the files every 10 seconds until it does",
						"error", err.Error())
				} else {
					log.Info("the kernel reports file events again")
				}
			}
			w, err := watch.New(o)
			if err != nil {
				return err
			}
			reload := func(context.Context) error {
				cfg, err := a.load()
				if err != nil {
					return fmt.Errorf("the old configuration stays in force: %w", err)
				}
				k.Configure(cfg)
				w.Follow(watchOptions(cfg))
				return nil
			}
			// The first signal also ends the context, so that the daemon stops in good order. After that the system's
			// own handling is in force, and the second signal kills.
			defer context.AfterFunc(cmd.Context(), func() { signal.Reset(syscall.SIGTERM, os.Interrupt) })()
			log.Info("started", "version", version, "pid", os.Getpid(), "certs", cfg.Certs.Dir)
			err = rcd.Run(cmd.Context(), rcd.Options{Keeper: k, Reload: reload, Watch: w, Wake: k.Wake(),
				Signals: signals, Now: wallClock, After: time.After, MaxIdle: time.Hour, Log: log})
			k.Close(closePatience)
			return err
		},
	}
}

// watchOptions says what is watched: the certs directory, the CA directory, and the directories that contain them. /etc
// is never watched, because kqueue would open each of its files.
func watchOptions(cfg config.Config) watch.Options {
	dirs := []string{cfg.Certs.Dir, cfg.CA.Dir}
	for _, d := range []string{filepath.Dir(cfg.Certs.Dir), filepath.Dir(cfg.CA.Dir)} {
		if d != "/" && d != cfg.Root+"/etc" && !slices.Contains(dirs, d) {
			dirs = append(dirs, d)
		}
	}
	var requests []string
	if plan.Obtains(cfg, config.IssuerLocal) {
		requests = []string{inbox.Requests(cfg.CA.Inbox)}
	}
	// A command that a person types may note in the state what the daemon has to go on with, such as what it has seen
	// in the DNS.
	noted := filepath.Join(cfg.State.Dir, state.FileName)
	return watch.Options{Dirs: dirs, Optional: requests, Files: []string{cfg.Sendmail.CF, cfg.Path, noted},
		Swept: sweptPaths(cfg)}
}

// sweptPaths returns trust/ and the bundles from which it is filled. They are only swept and not watched: some have
// hundreds of files, and a delay of ten seconds does no harm. So is the staging area: the TLSA record of a next key
// that `renew --rekey` has made there is to be published.
func sweptPaths(cfg config.Config) []string {
	paths := []string{filepath.Join(cfg.Certs.Dir, certdir.TrustDir)}
	return append(append(paths, filepath.Join(cfg.Certs.Dir, certdir.StagingDir)), keeper.TrustPaths(cfg)...)
}
