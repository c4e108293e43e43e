using System;
using System.Collections.Generic;

namespace NpcEngine
{
    /// <summary>How the replies are read that have no type of their own, and lists of those that have.</summary>
    internal static class Replies
    {
        internal static NpcException ReadError(MsgpackReader reader)
        {
            string code = NpcErrorCode.Internal;
            string message = "The engine gives no reason.";
            string help = "";
            for (int n = reader.ReadMap(); n > 0; n--)
            {
                switch (reader.ReadName())
                {
                    case "code": code = reader.ReadName(); break;
                    case "message": message = reader.ReadText(); break;
                    case "help": help = reader.ReadText(); break;
                    default: reader.Skip(); break;
                }
            }
            return new NpcException(code, message, help);
        }

        /// <summary>Of an `ok`: nothing of interest.</summary>
        internal static bool ReadOk(MsgpackReader reader) => true;

        /// <summary>Of the `ok` to an event: how many characters perceived it.</summary>
        internal static int ReadHeard(MsgpackReader reader)
        {
            object heard = Find(reader, "n_heard");
            return heard is long n && n <= int.MaxValue ? (int)n : 0;
        }

        /// <summary>Of the `ok` to a cancel: whether something was still going on.</summary>
        internal static bool ReadCancelled(MsgpackReader reader) => Find(reader, "cancelled") is bool cut && cut;

        internal static IReadOnlyList<NpcInfo> ReadInfos(MsgpackReader reader)
        {
            IReadOnlyList<NpcInfo> infos = new NpcInfo[0];
            for (int n = reader.ReadMap(); n > 0; n--)
            {
                if (reader.ReadName() == "npcs")
                {
                    infos = ReadList(reader, NpcInfo.Read);
                }
                else
                {
                    reader.Skip();
                }
            }
            return infos;
        }

        internal static IReadOnlyDictionary<string, object> ReadStats(MsgpackReader reader) =>
            Find(reader, "stats") as Dictionary<string, object> ?? new Dictionary<string, object>();

        internal static IReadOnlyDictionary<string, object> ReadMap(MsgpackReader reader)
        {
            if (reader.ReadValue() is Dictionary<string, object> map)
            {
                return map;
            }
            throw reader.Bad("a map was expected");
        }

        internal static IReadOnlyList<T> ReadList<T>(MsgpackReader reader, Func<MsgpackReader, T> read)
            where T : class
        {
            var list = new List<T>();
            for (int n = reader.ReadArray(); n > 0; n--)
            {
                list.Add(read(reader));
            }
            return list;
        }

        private static object Find(MsgpackReader reader, string key)
        {
            object found = null;
            for (int n = reader.ReadMap(); n > 0; n--)
            {
                if (reader.ReadName() == key)
                {
                    found = reader.ReadValue();
                }
                else
                {
                    reader.Skip();
                }
            }
            return found;
        }
    }
}
