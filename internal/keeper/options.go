package keeper

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"path/filepath"
	"time"

	"mailcertd/internal/config"
	"mailcertd/internal/durable"
	"mailcertd/internal/issuer"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// Options is what a Keeper gets from its caller. Config, Disk, Now and Host are required.
type Options struct {
	Config config.Config
	Disk   *durable.Disk
	Now    func() time.Time
	Rand   io.Reader // nil means crypto/rand
	// Host says how the system and rc.conf name this host.
	Host func(context.Context) plan.Host
	// Build is the time at which this program was built; zero means that it is unknown.
	Build time.Time
	// UID is the effective user ID. 0 means that mailcertd can change owners, and that sendmail is taken to run as
	// root.
	UID uint32
	// Log gets one event for each decision; nil means that nothing is logged.
	Log func(Event)
	// Issuer is asked for certificates where the CA is on another host; nil means that it is asked over ssh, as
	// configured.
	Issuer issuer.Issuer
	// NotifyFor is the longest time for each command of `notify`; zero means a minute. A command that takes longer is
	// stopped and tried again later.
	NotifyFor time.Duration
	// OrderFor is the longest time for one question to an ACME CA; zero means acme.DefaultPatience.
	OrderFor time.Duration
	// Brief is set for `ensure`, which runs before sendmail starts: it does not start sendmail, and waits only a moment
	// for the proof after a HUP.
	Brief bool
	// DANE lets the daemon, and verbs that wait for it, ask the DNS for TLSA records.
	DANE bool
	// Overview lets each look prepare ca.Overview, for a verb that prints the counts of the CA's certificates.
	Overview bool
	// Progress shows on a terminal that long work goes on, until done is called. atMost is the time limit of the work;
	// zero means that none is known. nil means that nothing is shown.
	Progress func(what string, atMost time.Duration) (done func())
	// Proxy returns the proxy for a request to an ACME CA, as in http.Transport; nil means none.
	Proxy func(*http.Request) (*url.URL, error)
	// Step tells a waiting person about each step of an order; nil means that the steps are logged at level debug.
	Step func(what string)
}

// Level is the severity of an event.
type Level = slog.Level

// The levels, equal to those of log/slog.
const (
	Debug = slog.LevelDebug
	Info  = slog.LevelInfo
	Warn  = slog.LevelWarn
	Fail  = slog.LevelError
)

// Event is one decision or result for the log. KV contains keys and values in turn. No value is ever a secret.
type Event struct {
	Level Level
	Msg   string
	KV    []any
}

// base is what a Keeper and all its parts share: the options of New and the configuration in force. Only Configure
// changes it, in the loop that owns the Keeper and never during a run, so it needs no lock.
type base struct {
	o   Options
	cfg config.Config
	// testOnlyStillEvery replaces stillEvery in tests; zero means stillEvery itself.
	testOnlyStillEvery time.Duration
}

func (b *base) log(l Level, msg string, kv ...any) { b.o.Log(Event{Level: l, Msg: msg, KV: kv}) }

// Path returns the path of a file in the certs directory.
func (b *base) Path(name string) string { return filepath.Join(b.cfg.Certs.Dir, name) }

// backups returns the backups of the set, which are below the state directory.
func (b *base) backups() *durable.Backups {
	return durable.OpenBackups(b.o.Disk, b.backupsDir(), b.statePath(state.FormerBackupsDir))
}

// statePath returns the path of a file or directory in the state directory.
func (b *base) statePath(name string) string { return filepath.Join(b.cfg.State.Dir, name) }

// backupsDir returns the directory of the backups.
func (b *base) backupsDir() string { return b.statePath(state.BackupsDir) }
