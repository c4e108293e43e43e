using System;
using System.IO;
using NpcEngine;

/// <summary>
/// A talk in the terminal, in plain C#: starts the engine, spawns a character, streams what it says, and
/// saves and loads. `Console MODEL [PROGRAM [ARGUMENT...]]`; PROGRAM is npc-engine where none is named.
/// </summary>
public static class Program
{
    private const string Slot = "console";

    /// <summary>Runs the talk until /quit or the end of the input.</summary>
    /// <param name="arguments">The model, and the engine's program.</param>
    /// <returns>0, or 1 after an error.</returns>
    public static int Main(string[] arguments)
    {
        if (arguments.Length == 0)
        {
            Console.Error.WriteLine("Use: Console MODEL [PROGRAM [ARGUMENT...]]");
            return 1;
        }
        try
        {
            Run(arguments);
            return 0;
        }
        catch (NpcException e)
        {
            Console.Error.WriteLine(e.Message);
            return 1;
        }
    }

    private static void Run(string[] arguments)
    {
        using (EngineProcess engine = EngineProcess.StartAsync(Settings(arguments)).GetAwaiter().GetResult())
        using (NpcClient client = engine.CreateClient())
        {
            NpcWelcome welcome = client.ConnectAsync().GetAwaiter().GetResult();
            Console.WriteLine("Engine {0}, process {1}. /save, /load, /quit.", welcome.Engine, engine.ProcessId);

            NpcCard card = new NpcCard("Mara", "Mara keeps the Crooked Lantern inn. She is warm, dry and curious.");
            NpcCharacter mara = client.PumpUntil(client.SpawnAsync("mara", card));
            mara.LineSpoken.Subscribe(line => Console.WriteLine("Mara: " + line.Text));
            mara.Gesture.Subscribe(gesture => Console.WriteLine("(Mara " + gesture.Text + ")"));

            for (string said = Console.ReadLine(); said != null && said != "/quit"; said = Console.ReadLine())
            {
                Answer(client, mara, said);
            }
        }
    }

    // A game has frames: it calls client.Pump() in each of them and awaits the Tasks. This has none.
    private static void Answer(NpcClient client, NpcCharacter mara, string said)
    {
        if (said == "/save")
        {
            NpcSaved saved = client.PumpUntil(client.SaveAsync(Slot));
            Console.WriteLine("Saved: {0:N0} bytes.", saved.NBytes);
        }
        else if (said == "/load")
        {
            client.PumpUntil(client.LoadAsync(Slot));
            NpcTranscript talk = client.PumpUntil(mara.TranscriptAsync());
            Console.WriteLine("Loaded: she remembers {0} turns.", talk.Turns.Count);
        }
        else
        {
            NpcReply reply = client.PumpUntil(mara.SayAsync(said));
            Console.WriteLine("[{0} tokens, the first after {1:N0} ms]", reply.Stats.NDecoded, reply.Stats.TtftMs);
        }
    }

    private static EngineProcessSettings Settings(string[] arguments)
    {
        var settings = new EngineProcessSettings
        {
            Model = arguments[0],
            SavesFolder = Path.Combine(Path.GetTempPath(), "npc-engine-console"),
        };
        if (arguments.Length > 1)
        {
            settings.Executable = arguments[1];
            settings.FirstArguments = new ArraySegment<string>(arguments, 2, arguments.Length - 2);
        }
        return settings;
    }
}
