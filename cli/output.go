package cli

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
)

// formats are the forms that every list can have.
var formats = []string{"table", "csv", "json", "yaml", "compact"}

// A choice is a flag that takes one of a few values.
type choice struct {
	value  string
	values []string
}

func (c *choice) String() string { return c.value }

// Type names the kind of value in the help.
func (c *choice) Type() string { return strings.Join(c.values, "|") }

// Set implements pflag.Value.
func (c *choice) Set(s string) error {
	if !slices.Contains(c.values, s) {
		return fmt.Errorf("must be one of %s", strings.Join(c.values, ", "))
	}
	c.value = s
	return nil
}

// addFormat gives cmd the flag --format with the given values, of which the
// first is the default, and returns where the chosen one will be.
func addFormat(cmd *cobra.Command, values ...string) *string {
	return addChoice(cmd, "format", "f", "form of the output", values[0], values...)
}

// addChoice gives cmd a flag that has one of the given values, and returns
// where the chosen one will be.
func addChoice(cmd *cobra.Command, name, short, usage, value string, values ...string) *string {
	c := &choice{value, values}
	cmd.Flags().VarP(c, name, short, usage)
	complete := func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return values, cobra.ShellCompDirectiveNoFileComp
	}
	if err := cmd.RegisterFlagCompletionFunc(name, complete); err != nil {
		panic(err) // the flag was added above
	}
	return &c.value
}

// A grid is a list as rows of text.
type grid struct {
	header []string
	rows   [][]string
}

// list prints a list: raw as JSON or YAML, or the grid in one of the others.
func (a *app) list(format string, raw any, g grid) error {
	switch format {
	case "json", "yaml":
		return a.object(format, raw)
	case "csv":
		w := csv.NewWriter(a.Out)
		return errors.Join(w.WriteAll(g.rows), w.Error())
	case "compact":
		return write(a.Out, compact(g))
	}
	t := table.NewWriter()
	t.AppendHeader(row(g.header))
	for _, r := range g.rows {
		t.AppendRow(row(r))
	}
	return write(a.Out, t.Render()+"\n")
}

func row(cells []string) table.Row {
	r := make(table.Row, len(cells))
	for i, c := range cells {
		r[i] = c
	}
	return r
}

// compact returns a grid as columns without lines around them.
func compact(g grid) string {
	t := table.NewWriter()
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	t.SetStyle(style)
	t.AppendHeader(row(g.header))
	for _, r := range g.rows {
		t.AppendRow(row(r))
	}
	var b strings.Builder
	for line := range strings.Lines(t.Render() + "\n") {
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return b.String()
}

// object prints v as JSON or YAML.
func (a *app) object(format string, v any) error {
	if format == "json" {
		e := json.NewEncoder(a.Out)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(v)
	}
	text, err := toYAML(v)
	if err != nil {
		return err
	}
	return write(a.Out, text)
}

// toYAML returns v as YAML with two spaces of indentation.
func toYAML(v any) (string, error) {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := errors.Join(e.Encode(v), e.Close()); err != nil {
		return "", err
	}
	return b.String(), nil
}

func write(w io.Writer, text string) error {
	_, err := io.WriteString(w, text)
	return err
}
