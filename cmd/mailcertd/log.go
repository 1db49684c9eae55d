package main

import (
	"io"

	"github.com/hashicorp/go-hclog"

	"mailcertd/internal/config"
	"mailcertd/internal/keeper"
	"mailcertd/internal/rcd"
)

// quiet is the log of a verb that a person runs: it writes nothing unless --log-level, level here, was given, because
// the verb itself prints what it did and what failed.
func quiet(level string, w io.Writer) func(keeper.Event) {
	if level == "" {
		return func(keeper.Event) {}
	}
	l := hclog.New(&hclog.LoggerOptions{Name: "mailcertd", Level: hclog.LevelFromString(level), Output: w})
	return logTo(l)
}

// logTo writes the core's events to a logger.
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

// sink is the daemon's log, where `log:` of the configuration wants it. With `target: auto` that is standard error when
// it is a terminal, else syslog.
func (c *console) sink(cfg config.Config) hclog.Logger {
	return rcd.NewLogger(rcd.LogOptions{Level: cfg.Log.Level, Target: cfg.Log.Target, Facility: cfg.Log.Facility,
		Stderr: c.err, Terminal: c.terminal()})
}
