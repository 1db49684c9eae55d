package keeper

import (
	"bytes"
	"path/filepath"
	"strings"

	"mailcertd/internal/durable"
	"mailcertd/internal/mta"
	"mailcertd/internal/pki"
)

// The largest size of openssl.cnf and the most files that it may include.
const (
	maxConf     = 1 << 20 // bytes of each file
	maxIncludes = 100     // the number of files
)

// systemLibssl describes the OpenSSL that sendmail is linked with, at the security level that openssl.cnf sets for
// every program.
func systemLibssl(conf string) pki.Libssl {
	l := libssl()
	left := maxIncludes
	if level, set := mta.ConfLevel(included(conf, &left)); set {
		return l.AtLevel(level)
	}
	return l
}

// included returns the content of an openssl.cnf and of the files that it includes (config(5)): single files, or all
// *.cnf and *.conf of a directory. Files that cannot be read are skipped. Relative paths are skipped too, because they
// depend on the directory in which sendmail was started. left counts down the files that may still be read.
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

// includes returns the files that `.include path` means.
func includes(path string) []string {
	names, err := durable.Names(path, 0)
	if err != nil {
		return []string{path} // path is a file, or a directory that cannot be read: reading it gives the error
	}
	var out []string
	for _, name := range names {
		if ext := strings.ToLower(filepath.Ext(name)); ext == ".cnf" || ext == ".conf" {
			out = append(out, filepath.Join(path, name))
		}
	}
	return out
}
