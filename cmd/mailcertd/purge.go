package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/keeper"
	"mailcertd/internal/page"
)

func (a *app) purgeCommand() *cobra.Command {
	var yes bool
	cmd := dryRunFlag(&cobra.Command{
		Use: "purge", Args: noArgs,
		Short: "remove everything that mailcertd made",
		Long: `Removes the key, the certificate, the CA and the state that mailcertd made. It
asks for confirmation, unless --yes is given. It keeps files that it did not
make and their backups, a CA that was made by hand, and all other files in its
directories. If the key of the CA is removed, no host can get a certificate from
that CA any more. sendmail offers no STARTTLS when it starts next, until its rc
script has made new files.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.load()
			if err != nil {
				return err
			}
			k := a.keeper(cfg, quiet(a.logLevel, a.err))
			if a.dryRun {
				list, err := k.PurgeList(cmd.Context())
				if err != nil {
					return err
				}
				return errors.Join(a.purgeText(cfg, list), k.PurgeTrial())
			}
			err = k.Purge(cmd.Context(), func(list []keeper.Purged) error {
				if err := a.purgeText(cfg, list); err != nil || yes {
					return err
				}
				return a.confirm("Remove these permanently?")
			})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(a.out, "removed")
			return err
		},
	}, &a.dryRun)
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask for confirmation")
	return cmd
}

// confirm asks on a terminal. Without a terminal there is no answer, which means no.
func (c *console) confirm(question string) error {
	f, ok := c.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return usageError{errors.New("there is no terminal to ask for confirmation: use --yes")}
	}
	fmt.Fprint(c.err, question+" [y/N] ")
	line, _ := bufio.NewReader(f).ReadString('\n')
	if s := strings.ToLower(strings.TrimSpace(line)); s != "y" && s != "yes" {
		return errors.New("nothing was changed")
	}
	return nil
}

// purgeText prints what is removed and what stays, and what this means for sendmail, which needs key, certificate and
// CA file together.
func (c *console) purgeText(cfg config.Config, list []keeper.Purged) error {
	var text strings.Builder
	needed := []string{certdir.Host.KeyFile, certdir.Host.CertFile, certdir.CAName}
	var left []string // files that sendmail needs and that stay
	off := false      // a file that sendmail needs is removed
	for _, p := range list {
		if p.Kept == "" {
			what := ""
			switch name := filepath.Base(p.Path); {
			case p.Path == cfg.CA.Dir:
				what = ": the CA's key is deleted, and no host can renew from this CA again"
			case filepath.Dir(p.Path) == cfg.Certs.Dir && slices.Contains(needed, name):
				off = true
			}
			fmt.Fprintf(&text, "remove  %s%s\n", page.Clean(p.Path), what)
			continue
		}
		fmt.Fprintf(&text, "keep    %s: %s\n", page.Clean(p.Path), p.Kept)
		if name := filepath.Base(p.Path); filepath.Dir(p.Path) == cfg.Certs.Dir && slices.Contains(needed, name) {
			left = append(left, name)
		}
	}
	if off {
		text.WriteString("sendmail offers no STARTTLS after its next start, until its rc script has made new files\n")
	}
	if len(left) == 1 || len(left) == 2 {
		fmt.Fprintf(&text,
			"hint: with only %s left, sendmail offers no STARTTLS, and its rc script makes no new files: move "+
				"what is left to another directory, or remove it\n", strings.Join(left, " and "))
	}
	_, err := io.WriteString(c.out, text.String())
	return err
}
