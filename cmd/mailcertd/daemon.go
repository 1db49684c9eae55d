package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/durable"
	"mailcertd/internal/keeper"
	"mailcertd/internal/rcd"
	"mailcertd/internal/watch"
)

// closePatience is how long the daemon waits at its end for an ssh of its own.
const closePatience = 1500 * time.Millisecond

func (a *app) runCommand() *cobra.Command {
	return &cobra.Command{
		Use: "run", Args: noArgs,
		Short: "ensure, then stay: watch, renew, repair, tell sendmail",
		Long: `Stays in the foreground; under rc.d, daemon(8) puts it into the background.
SIGHUP reads the configuration again, SIGTERM ends.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.load()
			if err != nil {
				if !a.terminal() { // under daemon(8) nobody reads standard error
					a.sink(config.Default(a.root)).Error("not started: the configuration is wrong", "error", cleanLines(err.Error()))
				}
				return err
			}
			debug.SetGCPercent(100) // Go's own choice: what main sets is for verbs
			debug.SetMemoryLimit(math.MaxInt64)
			runtime.GOMAXPROCS(1) // it rests nearly all of its life: more threads only wake each other
			log := a.sink(cfg)
			k := a.keeper(cfg, logTo(log))
			lock, err := k.LockDaemon()
			if errors.Is(err, durable.ErrLocked) {
				return fmt.Errorf("another mailcertd runs already: %w", err)
			} else if err != nil {
				return err
			}
			if lock != nil {
				defer lock.Unlock()
			}
			o := watchOptions(cfg)
			o.Told = func(err error) {
				if err != nil {
					log.Warn("the kernel tells no file events: a sweep every 10 seconds finds changes until it does", "error", err.Error())
				} else {
					log.Info("the kernel tells file events again")
				}
			}
			w, err := watch.New(o)
			if err != nil {
				return err
			}
			a.loaded = func(cfg config.Config) { w.Follow(watchOptions(cfg)) } // SIGHUP may name others
			signals := make(chan os.Signal, 4)
			signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM, os.Interrupt)
			// The first one, which also ends the context, drains; the second is the system's.
			defer context.AfterFunc(cmd.Context(), func() { signal.Reset(syscall.SIGTERM, os.Interrupt) })()
			log.Info("started", "version", version, "pid", os.Getpid(), "certs", cfg.Certs.Dir)
			err = rcd.Run(cmd.Context(), rcd.Options{Keeper: k, Watch: w, Wake: k.Wake(), Signals: signals, Now: time.Now, After: time.After, MaxIdle: time.Hour, Log: log})
			k.Close(closePatience)
			return err
		},
	}
}

// watchOptions: the certs directory, the CA's and the ones that hold them;
// never /etc, which kqueue would open file by file.
func watchOptions(cfg config.Config) watch.Options {
	dirs := []string{cfg.Certs.Dir, cfg.CA.Dir}
	for _, d := range []string{filepath.Dir(cfg.Certs.Dir), filepath.Dir(cfg.CA.Dir)} {
		if d != "/" && d != cfg.Root+"/etc" && !contains(dirs, d) {
			dirs = append(dirs, d)
		}
	}
	var inbox []string
	if cfg.Issuer.Kind == config.IssuerLocal {
		inbox = []string{filepath.Join(cfg.CA.Inbox, "in")}
	}
	return watch.Options{Dirs: dirs, Optional: inbox, Files: []string{cfg.Sendmail.CF, cfg.Path}, Swept: sweptPaths(cfg)}
}

// sweptPaths: trust/ and the bundles that it follows. Some have hundreds of
// files, and ten seconds are soon enough.
func sweptPaths(cfg config.Config) []string {
	return append([]string{filepath.Join(cfg.Certs.Dir, certdir.TrustDir)}, keeper.TrustPaths(cfg)...)
}

func contains(s []string, x string) bool {
	for _, y := range s {
		if y == x {
			return true
		}
	}
	return false
}
