package main

import (
	"io"

	"github.com/hashicorp/go-hclog"

	"mailcertd/internal/config"
	"mailcertd/internal/keeper"
	"mailcertd/internal/rcd"
)

// quiet is the log of a verb that a person runs. It writes nothing unless --log-level, here level, is given, because
// the verb itself prints what it did and what failed.
func quiet(level string, w io.Writer) func(keeper.Event) {
	if level == "" {
		return func(keeper.Event) {}
	}
	l := hclog.New(&hclog.LoggerOptions{Name: "mailcertd", Level: hclog.LevelFromString(level), Output: w})
	return logTo(l)
}

// logTo returns a function that writes the core's events to a logger.
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

// sink returns the daemon's log, in the place that `log:` of the configuration names. With `target: auto` it is
// standard error if that is a terminal, else syslog.
func (c *console) sink(cfg config.Config) hclog.Logger {
	return rcd.NewLogger(rcd.LogOptions{Level: cfg.Log.Level, Target: cfg.Log.Target, Facility: cfg.Log.Facility,
		Stderr: c.err, Terminal: c.terminal()})
}
