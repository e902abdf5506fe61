// Command protogen generates the Go code of .proto files with pinned versions
// of everything, without a protoc.
//
//	protogen -out DIR FILE...    writes FILE's .pb.go into DIR, by default beside it
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/cmd/protoc-gen-go/internal_gengo"
	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

func main() {
	out := flag.String("out", "", "directory to write to")
	flag.Parse()
	for _, file := range flag.Args() {
		if err := generate(file, *out); err != nil {
			fmt.Fprintln(os.Stderr, "protogen:", err)
			os.Exit(1)
		}
	}
}

func generate(file, out string) error {
	dir, name := filepath.Split(file)
	if out == "" {
		out = dir
	}
	c := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{dir}}),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	files, err := c.Compile(context.Background(), name)
	if err != nil {
		return err
	}
	var all []*descriptorpb.FileDescriptorProto // imports first
	imports := files[0].Imports()
	for i := range imports.Len() {
		all = append(all, protodesc.ToFileDescriptorProto(imports.Get(i)))
	}
	all = append(all, protodesc.ToFileDescriptorProto(files[0]))
	gen, err := protogen.Options{}.New(&pluginpb.CodeGeneratorRequest{
		FileToGenerate:  []string{name},
		Parameter:       proto.String("paths=source_relative"),
		ProtoFile:       all,
		CompilerVersion: &pluginpb.Version{Major: proto.Int32(3), Minor: proto.Int32(21), Patch: proto.Int32(12)},
	})
	if err != nil {
		return err
	}
	for _, f := range gen.Files {
		if f.Generate {
			internal_gengo.GenerateFile(gen, f)
		}
	}
	gen.SupportedFeatures = internal_gengo.SupportedFeatures
	res := gen.Response()
	if res.Error != nil {
		return fmt.Errorf("%s: %s", file, res.GetError())
	}
	for _, f := range res.File {
		if err := os.WriteFile(filepath.Join(out, f.GetName()), []byte(f.GetContent()), 0o644); err != nil {
			return err
		}
	}
	return nil
}
