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
)

func (a *app) restoreCommand() *cobra.Command {
	var list bool
	cmd := a.dryRunFlag(&cobra.Command{
		Use:   "restore [GENERATION]",
		Short: "bring an archived set back",
		Long: `Brings back the newest archived set, or the one named. What lies there now is
archived first, sendmail's rules are asked before anything changes, and the
restored certificate is kept until its renewal is due. --list shows what there
is.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if list && len(args) > 0 {
				return usageError{fmt.Errorf("unexpected argument %q: --list shows all of them", args[0])}
			}
			return atMostOne(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := a.load()
			if err != nil {
				return err
			}
			k := a.keeper(cfg, a.quiet())
			gens, err := k.Archive()
			if err != nil {
				return err
			}
			if list || a.dryRun {
				for _, g := range gens {
					var names []string
					for _, f := range g.Files {
						names = append(names, f.Name)
					}
					note := ""
					if g.Foreign {
						note = " (not made by mailcertd)"
					}
					if g.Damaged {
						note = " (damaged)"
					}
					fmt.Fprintf(a.out, "%s  %s  %s%s\n", g.ID, g.Reason, strings.Join(names, ", "), note)
				}
				if len(gens) == 0 {
					fmt.Fprintln(a.out, "nothing is archived")
				}
				return nil
			}
			id := ""
			if len(args) == 1 {
				id = args[0]
			}
			r, err := k.Restore(cmd.Context(), id)
			if err != nil {
				return err
			}
			fmt.Fprintln(a.out, "restored")
			a.printDone(r)
			return verdict(r.Plan)
		},
	})
	cmd.Flags().BoolVar(&list, "list", false, "list the archived generations, newest first")
	return cmd
}

func (a *app) purgeCommand() *cobra.Command {
	var yes bool
	cmd := a.dryRunFlag(&cobra.Command{
		Use: "purge", Args: noArgs,
		Short: "remove everything mailcertd made",
		Long: `Removes key, certificate, CA and state that mailcertd made, after a question or
with --yes. What it did not make stays, and so do the copies of it: a CA that
was made by hand, and whatever else lies in its directories. sendmail offers no
STARTTLS at its next start, until its rc script has made new files.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.load()
			if err != nil {
				return err
			}
			k := a.keeper(cfg, a.quiet())
			if a.dryRun {
				list, err := k.PurgeList(cmd.Context())
				if err != nil {
					return err
				}
				return a.purgeText(cfg, list)
			}
			err = k.Purge(cmd.Context(), func(list []keeper.Purged) error {
				if err := a.purgeText(cfg, list); err != nil || yes {
					return err
				}
				return a.confirm("Remove these for ever?")
			})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(a.out, "removed")
			return err
		},
	})
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

// confirm asks on a terminal. Without one, nobody can have said yes.
func (a *app) confirm(question string) error {
	f, ok := a.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return usageError{errors.New("no terminal to ask on: say --yes")}
	}
	fmt.Fprint(a.err, question+" [y/N] ")
	line, _ := bufio.NewReader(f).ReadString('\n')
	if s := strings.ToLower(strings.TrimSpace(line)); s != "y" && s != "yes" {
		return errors.New("nothing was changed")
	}
	return nil
}

// purgeText says what goes and what stays. sendmail needs key, certificate and
// CA file together.
func (a *app) purgeText(cfg config.Config, list []keeper.Purged) error {
	var text strings.Builder
	var left []string // of what sendmail needs
	for _, p := range list {
		if p.Kept == "" {
			fmt.Fprintf(&text, "remove  %s\n", clean(p.Path))
			continue
		}
		fmt.Fprintf(&text, "keep    %s: %s\n", clean(p.Path), p.Kept)
		if name := filepath.Base(p.Path); filepath.Dir(p.Path) == cfg.Certs.Dir && slices.Contains([]string{certdir.KeyName, certdir.CertName, certdir.CAName}, name) {
			left = append(left, name)
		}
	}
	if len(left) == 1 || len(left) == 2 {
		fmt.Fprintf(&text, "hint: with %s alone sendmail offers no STARTTLS, and its rc script makes no new files\n", strings.Join(left, " and "))
	}
	_, err := io.WriteString(a.out, text.String())
	return err
}
