using System;
using System.IO;
using UnityEngine;

namespace NpcEngine
{
    /// <summary>Where a path of the inspector leads: what is relative belongs to the game's own folders.</summary>
    internal static class NpcFiles
    {
        /// <summary>A file that the game ships.</summary>
        internal static string Shipped(string path) =>
            string.IsNullOrEmpty(path) ? path : Join(Application.streamingAssetsPath, path);

        /// <summary>A folder that the player's machine keeps.</summary>
        internal static string Kept(string path) =>
            string.IsNullOrEmpty(path) ? null : Join(Application.persistentDataPath, path);

        /// <summary>A program that the game ships, or else one that the system finds by its name.</summary>
        internal static string Program(string name)
        {
            string shipped = Shipped(name);
            bool isPath = !string.IsNullOrEmpty(name) && name.IndexOfAny(new[] { '/', '\\' }) >= 0;
            return isPath || File.Exists(shipped) || File.Exists(shipped + ".exe") ? shipped : name;
        }

        private static string Join(string folder, string path)
        {
            try
            {
                return Path.Combine(folder, path);
            }
            catch (ArgumentException e)
            {
                throw new NpcException(
                    NpcErrorCode.BadCall, "\"" + path + "\" cannot be a path: " + e.Message, "Correct it in the inspector.", e);
            }
        }
    }
}
