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
)

// Options is what a Keeper needs from outside. Config, Disk, Now and Host are
// required.
type Options struct {
	Config config.Config
	Disk   *durable.Disk
	Now    func() time.Time
	Rand   io.Reader // nil: crypto/rand
	// Host says what the system and rc.conf call this host.
	Host func(context.Context) plan.Host
	// Build is when this program was built; zero: unknown.
	Build time.Time
	// UID is the effective user ID; 0 means that owners can be set and that
	// sendmail is taken to run as root.
	UID uint32
	// Log takes one line per decision; nil: nothing is told.
	Log func(Event)
	// Issuer is asked for certificates where the CA is on another host; nil: over ssh, as configured.
	Issuer issuer.Issuer
	// NotifyFor bounds each command of `notify`; zero: a minute. One that takes
	// longer is tried again later.
	NotifyFor time.Duration
	// Brief is what `ensure` is, which runs before sendmail does: it starts none, and
	// waits only a moment for one that it told.
	Brief bool
	// Progress tells a terminal of work that may take long, until done is called.
	// atMost is its limit; zero: none is known. nil: nothing is told.
	Progress func(what string, atMost time.Duration) (done func())
	// Proxy names the proxy for a request to an ACME CA, as http.Transport has it; nil: none.
	Proxy func(*http.Request) (*url.URL, error)
	// Step tells a person who waits what an order has come to; nil: the log at level debug is told.
	Step func(what string)
}

// Level is how loud an event is.
type Level = slog.Level

// The levels, as log levels.
const (
	Debug = slog.LevelDebug
	Info  = slog.LevelInfo
	Warn  = slog.LevelWarn
	Fail  = slog.LevelError
)

// Event is one decision or result, for the log. KV are key and value in turn;
// no value is ever a secret.
type Event struct {
	Level Level
	Msg   string
	KV    []any
}

// base is what a Keeper and all its parts share: what New was given, and the configuration in force. Configure alone
// changes it, in the loop that owns the Keeper and never while a run goes on.
type base struct {
	o   Options
	cfg config.Config
	// testOnlyStillEvery stands for stillEvery; zero means stillEvery itself.
	testOnlyStillEvery time.Duration
}

func (b *base) log(l Level, msg string, kv ...any) { b.o.Log(Event{Level: l, Msg: msg, KV: kv}) }

// Path is the path of a file in the certs directory.
func (b *base) Path(name string) string { return filepath.Join(b.cfg.Certs.Dir, name) }

// archiveDir is the directory with the backups, below the state directory.
func (b *base) archiveDir() string { return filepath.Join(b.cfg.State.Dir, archiveDir) }

const archiveDir = "archive"
