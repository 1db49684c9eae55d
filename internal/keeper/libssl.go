package keeper

import (
	"bytes"
	"path/filepath"
	"strings"

	"mailcertd/internal/durable"
	"mailcertd/internal/mta"
	"mailcertd/internal/pki"
)

// Bounds of openssl.cnf with what it includes.
const (
	maxConf     = 1 << 20 // bytes of each file
	maxIncludes = 100     // files
)

// systemLibssl is the OpenSSL that sendmail is linked with, at the security level
// that openssl.cnf sets for every program.
func systemLibssl(conf string) pki.Libssl {
	l := libssl()
	left := maxIncludes
	if level, set := mta.ConfLevel(included(conf, &left)); set {
		return l.AtLevel(level)
	}
	return l
}

// included is an openssl.cnf with the files in it that it includes (config(5)): a file, or all *.cnf and *.conf of a
// directory. One that cannot be read is skipped, and so is a relative path: it depends on where sendmail was started.
func included(path string, left *int) []byte {
	n := durable.Read(path, maxConf)
	if *left--; *left < 0 || n.Err != nil || !n.Exists {
		return nil
	}
	if !bytes.Contains(n.Data, []byte(".include")) {
		return n.Data
	}
	var out []byte
	for _, line := range bytes.SplitAfter(n.Data, []byte("\n")) {
		name, found := strings.CutPrefix(strings.TrimSpace(string(line)), ".include")
		if !found || name != "" && !strings.ContainsRune(" \t=", rune(name[0])) {
			out = append(out, line...)
			continue
		}
		name, _, _ = strings.Cut(name, "#")
		name = strings.Trim(strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(name), "=")), `"'`)
		if !filepath.IsAbs(name) {
			continue
		}
		for _, file := range includes(name) {
			out = append(append(out, included(file, left)...), '\n')
		}
	}
	return out
}

// includes are the files that an .include of path means.
func includes(path string) []string {
	names, err := durable.Names(path, 0)
	if err != nil {
		return []string{path} // no directory, or one that reading it tells of
	}
	var out []string
	for _, name := range names {
		if ext := strings.ToLower(filepath.Ext(name)); ext == ".cnf" || ext == ".conf" {
			out = append(out, filepath.Join(path, name))
		}
	}
	return out
}
