package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"hutch/profiles"
	"hutch/rootfs"
	"hutch/runner"
)

// To add a verb of hutch image: a line here, and a part of
// testdata/script/image.txtar.
func imageCommand() *cli.Command {
	verbs := []*cli.Command{
		{Name: "ls", Usage: "list the images of the store", Action: imageList, Flags: []cli.Flag{
			&cli.BoolFlag{Name: "json", Usage: "write JSON"},
		}},
		{Name: "inspect", Usage: "show all that is known of an image, as JSON", ArgsUsage: "IMAGE", Action: imageInspect},
		{Name: "pull", Usage: "fetch images from their registries", ArgsUsage: "HOST/NAME[:TAG|@DIGEST]...", Action: imagePull, Flags: append(
			sourceFlags(), &cli.BoolFlag{Name: "plain-http", Usage: "allow a registry without TLS that is not on this machine"})},
		{
			Name: "import", Usage: "make an image out of a tar (\"-\" for standard input), oci:DIR, oci-archive:FILE or docker-archive:FILE",
			ArgsUsage: "FROM NAME[:TAG]", Action: imageImport, Flags: sourceFlags(),
		},
		{
			Name: "commit", Usage: "make an image of what hutch run --keep has kept under KEPT",
			ArgsUsage: "KEPT NAME[:TAG]", Action: imageCommit,
		},
		{Name: "rm", Usage: "remove images by name or ID", ArgsUsage: "IMAGE...", Action: imageRemove},
		{Name: "gc", Usage: "remove what nothing needs", Action: imageGC, Flags: []cli.Flag{
			&cli.StringFlag{Name: "keep", Usage: "remove also what has not been used for longest, until `SIZE` is left; images that cannot be fetched again stay"},
		}},
		{Name: "verify", Usage: "compare every file of the store with what was written", Action: imageVerify, Flags: []cli.Flag{
			&cli.BoolFlag{Name: "remove", Usage: "remove what is damaged, to be fetched or imported again"},
		}},
	}
	for _, v := range verbs {
		v.OnUsageError = usageError
	}
	return &cli.Command{
		Name:            "image",
		Usage:           "keep root file systems: fetch, import, list, remove and check images",
		HideHelpCommand: true,
		OnUsageError:    usageError,
		Subcommands:     verbs,
		Action: func(c *cli.Context) error {
			if !c.Args().Present() {
				return cli.ShowSubcommandHelp(c)
			}
			hint := "hutch image --help lists the verbs"
			var names []string
			for _, v := range verbs {
				names = append(names, v.Name)
			}
			if near := nearest(c.Args().First(), names); near != "" {
				hint = "did you mean hutch image " + near + "? " + hint
			}
			return misuse(hint, "no such verb: %q", c.Args().First())
		},
	}
}

func sourceFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "platform", Usage: "take the image for `OS/ARCH[/VARIANT]`"},
		&cli.StringFlag{Name: "store-format", Usage: storeFormatUsage},
		&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "show no progress"},
	}
}

// imageError makes a hint of the advice behind a semicolon.
func imageError(name string, err error) error {
	var ours *runner.Error
	if err == nil || errors.As(err, &ours) {
		return err
	}
	e := &runner.Error{Stage: runner.StagePrepare, Err: err, Hint: "hutch image --help lists the verbs and what they take"}
	text := err.Error()
	if i := strings.LastIndex(text, "; "); i > len(name) {
		e.Err, e.Hint = reworded{text[:i], err}, text[i+2:]
	}
	return e
}

// interruptible runs f until a signal ends it; then nothing half-made is left
// and the status says which signal.
func interruptible(f func(ctx context.Context) error) error {
	manyThreads()
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	got := make(chan os.Signal, 1)
	notify(got, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGHUP)
	defer signal.Stop(got)
	go func() {
		select {
		case sig := <-got:
			cancel(exit(128 + int(sig.(syscall.Signal))))
		case <-ctx.Done():
		}
	}()
	err := f(ctx)
	var interrupted exit
	if err != nil && errors.As(context.Cause(ctx), &interrupted) {
		fmt.Fprintln(os.Stderr, "hutch: interrupted; nothing half-made is left")
		return interrupted
	}
	return err
}

func imageOptions(c *cli.Context) (rootfs.Options, error) {
	opt := rootfs.Options{
		Stdin: os.Stdin, Puller: puller, OnThread: ordinaryThread, Platform: rootfs.Platform(c.String("platform")), PlainHTTP: c.Bool("plain-http"),
		Format: rootfs.Format(c.String("store-format")),
	}
	if !c.Bool("quiet") {
		opt.Progress = progress()
	}
	if err := opt.Platform.Check(); err != nil {
		return opt, misuse("write OS/ARCHITECTURE[/VARIANT], as in linux/arm64", "option --platform: %q", c.String("platform"))
	}
	if c.IsSet("store-format") && (opt.Format == "" || opt.Format.Check() != nil) {
		return opt, misuse("it is one of dir, erofs", "option --store-format: no such format %q", c.String("store-format"))
	}
	return opt, nil
}

const storeFormatUsage = "keep layers as `FORMAT`: dir (directories) or erofs (EROFS images, as root)"

func imagePull(c *cli.Context) error {
	if c.NArg() == 0 {
		return misuse("write hutch image pull HOST/NAME:TAG", "no image was named")
	}
	var refs []rootfs.Ref
	for _, arg := range c.Args().Slice() {
		ref, err := rootfs.ParseImage(arg)
		if err != nil {
			return imageError(arg, err)
		}
		refs = append(refs, ref)
	}
	return interruptible(func(ctx context.Context) error {
		for _, ref := range refs {
			opt, err := imageOptions(c)
			if err != nil {
				return err
			}
			root, err := rootfs.Pull(ctx, ref, opt)
			if err != nil {
				return imageError(ref.String(), err)
			}
			fmt.Fprintln(show, root.Digest)
			root.Close()
		}
		return nil
	})
}

func imageImport(c *cli.Context) error {
	if c.NArg() != 2 {
		return misuse("write hutch image import FROM NAME, as in: hutch image import root.tar.zst debian:minbase", "expected what to import, and a name for it")
	}
	from, err := rootfs.Parse(c.Args().Get(0))
	if err != nil {
		return imageError(c.Args().Get(0), err)
	}
	name, err := rootfs.ParseImage(c.Args().Get(1))
	if err != nil {
		return imageError(c.Args().Get(1), err)
	}
	opt, err := imageOptions(c)
	if err != nil {
		return err
	}
	return interruptible(func(ctx context.Context) error {
		root, err := rootfs.Import(ctx, from, name, opt)
		if err != nil {
			return imageError(c.Args().Get(0), err)
		}
		defer root.Close()
		fmt.Fprintln(show, root.Digest)
		return nil
	})
}

func imageList(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	list, err := rootfs.Images("")
	if err != nil {
		return imageError("", err)
	}
	if c.Bool("json") {
		for i := range list {
			list[i].ConfigObject = nil // inspect shows it
		}
		return printJSON(list)
	}
	w := tabwriter.NewWriter(show, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tID\tPLATFORM\tSIZE\tLAYERS\tFORMAT\tUSED")
	for _, img := range list {
		names := img.Names
		if len(names) == 0 {
			names = []string{"-"}
		}
		for _, n := range names {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", n, shortID(img.ID), img.Platform, humanSize(img.Bytes), len(img.Layers), formats(img), ago(img.Used))
		}
	}
	return w.Flush()
}

// formats is how an image's layers are kept.
func formats(img rootfs.Image) string {
	f := rootfs.FormatDir
	for i, l := range img.Layers {
		if i > 0 && l.Format != f {
			return "both"
		}
		f = l.Format
	}
	return string(f)
}

func printJSON(v any) error {
	e := json.NewEncoder(show)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func shortID(id string) string {
	id = strings.TrimPrefix(id, "sha256:")
	return id[:min(len(id), 12)]
}

// humanSize is n in the largest unit that leaves a whole number before the point.
func humanSize(n int64) string {
	f, unit := float64(n), 0
	for f >= 1000 && unit < 4 {
		f /= 1024
		unit++
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %ciB", f, "KMGT"[unit-1])
}

func ago(t time.Time) string {
	d := time.Since(t)
	switch {
	case t.IsZero():
		return "-"
	case d < time.Minute:
		return "now"
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", d/time.Hour)
	}
	return fmt.Sprintf("%d days ago", d/(24*time.Hour))
}

func imageInspect(c *cli.Context) error {
	if c.NArg() != 1 {
		return misuse("write hutch image inspect NAME; hutch image ls lists them", "expected one image")
	}
	img, err := rootfs.InspectImage("", c.Args().First())
	if err != nil {
		return imageError(c.Args().First(), err)
	}
	return printJSON(img)
}

func imageRemove(c *cli.Context) error {
	if c.NArg() == 0 {
		return misuse("write hutch image rm NAME; hutch image ls lists them", "no image was named")
	}
	for _, name := range c.Args().Slice() {
		st, err := rootfs.RemoveImage("", name)
		if err != nil {
			return imageError(name, err)
		}
		if st.Busy > 0 {
			fmt.Fprintf(os.Stderr, "%s: is in use; its name is gone, and hutch image gc removes the rest when the run is over\n", printable(name))
		}
	}
	return nil
}

func imageGC(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	opt := rootfs.GCOptions{Keep: -1}
	if c.IsSet("keep") {
		n, err := profiles.ParseSize(c.String("keep"))
		if err != nil || n < 0 {
			return misuse("write a size, as in 20G, or 0 for nothing", "option --keep: %q is no size", c.String("keep"))
		}
		opt.Keep = int64(n)
	}
	st, err := rootfs.GC("", opt)
	if err != nil {
		return imageError("", err)
	}
	fmt.Fprintf(show, "removed %s, %s (%s) and %s; %s stay", several(st.Images, "image"), several(st.Entries, "tree"), humanSize(st.Bytes), several(st.Temporaries, "leftover"), humanSize(st.Left))
	if st.Busy > 0 {
		fmt.Fprintf(show, ", %d that would have gone are in use", st.Busy)
	}
	fmt.Fprintln(show)
	return nil
}

func imageVerify(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	return interruptible(func(ctx context.Context) error {
		v, err := rootfs.Verify(ctx, "", c.Bool("remove"))
		if err != nil {
			return imageError("", err)
		}
		for _, d := range v.Damaged {
			did := ""
			if d.Removed {
				did = "; removed"
			}
			fmt.Fprintf(show, "%s: %s (%s)%s\n", d.Entry, printable(d.What), printable(strings.Join(d.Images, ", ")), did)
		}
		fmt.Fprintf(show, "%s and %s (%s): %d damaged\n", several(v.Images, "image"), several(v.Layers, "tree"), humanSize(v.Bytes), len(v.Damaged))
		if len(v.Damaged) > 0 {
			return exit(1)
		}
		return nil
	})
}
